"""People on known paths: who they are is known, whatever order they are found in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from higherhrnet import COCO, CROWDPOSE, InputError, Poses, Tracker
from higherhrnet.arrays import DoubleArray
from higherhrnet.skeleton import Skeleton
from higherhrnet.tracking.tracker import TrackConfig

FPS = 25


def bodies(middles: DoubleArray, seed: int = 0, skeleton: Skeleton = COCO) -> DoubleArray:
    """(..., 2) middles → (..., K, 2): bodies of their own shape, about 40 by 100 pixels."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform((-20, -50), (20, 50), (middles.shape[-2], len(skeleton), 2))
    return middles[..., None, :] + shape


def found(keypoints: DoubleArray, skeleton: Skeleton = COCO) -> Poses:
    people, count = keypoints.shape[:2]
    return Poses(
        keypoints.astype(np.float32),
        np.full((people, count), 0.9, np.float32),
        np.full(people, 0.9, np.float32),
        skeleton,
    )


def numbered(
    paths: DoubleArray, tracker: Tracker, noise: float = 2.0, seed: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Each frame's (P,) numbers of (F, P, 2) people, found in any order; 0 where NaN: not found."""
    rng = np.random.default_rng(seed)
    for frame, places in enumerate(bodies(paths)):
        there = rng.permutation(np.flatnonzero(np.isfinite(places).all((1, 2))))
        poses = found(places[there] + rng.normal(0, noise, places[there].shape))
        tracked = tracker(poses, frame / FPS)
        numbers = np.zeros(len(places), np.int64)
        assert tracked.track_ids is not None
        numbers[there] = tracked.track_ids
        yield numbers


def walk(*ends: tuple[tuple[float, float], tuple[float, float]], frames: int = 60) -> DoubleArray:
    """(F, P, 2) from one place to another at a steady pace."""
    share = np.linspace(0, 1, frames)[:, None, None]
    starts, stops = np.array(ends, float).transpose(1, 0, 2)
    return np.asarray(starts + share * (stops - starts))


@pytest.mark.parametrize("seed", range(3))
def test_numbers_stay_whatever_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = np.stack([np.linspace(50, 750, 8), rng.uniform(100, 500, 8)], 1)
    paths = walk(*zip(starts.tolist(), (starts + rng.normal(0, 40, (8, 2))).tolist(), strict=True))
    all_numbers = list(numbered(paths, Tracker(), seed=seed))
    assert sorted(all_numbers[0]) == [*range(1, 9)]
    assert all((numbers == all_numbers[0]).all() for numbers in all_numbers)


def test_people_who_cross_keep_their_numbers() -> None:
    """They meet in one place; only their motion tells who comes out on which side."""
    paths = walk(((100, 200), (500, 200)), ((500, 204), (100, 204)), ((300, 60), (300, 340)))
    same = np.zeros((len(paths), 3, 1, 2))  # the same shape, so that looks do not tell
    shape = bodies(np.zeros((1, 2)))
    tracker, numbers = Tracker(), []
    rng = np.random.default_rng(1)
    for frame, places in enumerate(paths[:, :, None] + same[0] + shape[0]):
        order = rng.permutation(3)
        tracked = tracker(found(places[order] + rng.normal(0, 2, places.shape)), frame / FPS)
        assert tracked.track_ids is not None
        numbers.append(tracked.track_ids[np.argsort(order)])
    assert (np.array(numbers) == numbers[0]).all()


def test_who_is_hidden_for_a_while_keeps_the_number() -> None:
    paths = walk(((100, 200), (500, 200)), ((100, 420), (500, 420)))
    hidden = slice(25, 43)  # 0.72 seconds, 120 pixels: three bodies' widths
    paths[hidden, 0] = np.nan
    numbers = np.array(list(numbered(paths, Tracker())))
    assert (numbers[hidden, 0] == 0).all()
    assert set(numbers[:, 0]) == {0, numbers[0, 0]}
    assert set(numbers[:, 1]) == {numbers[0, 1]}


def test_who_is_gone_for_long_is_somebody_else() -> None:
    paths = walk(((100, 200), (100, 200)))
    paths[20:50] = np.nan
    assert set(np.ravel(list(numbered(paths, Tracker(TrackConfig(max_lost_seconds=1)))))) == {
        1,
        0,
        2,
    }
    assert set(np.ravel(list(numbered(paths, Tracker(TrackConfig(max_lost_seconds=2)))))) == {1, 0}


def test_a_ghost_takes_nobodys_number() -> None:
    """Somebody found in one frame only is not waited for, and does not disturb who was there."""
    paths = walk(((100, 200), (500, 200)), ((300, 200), (300, 200)))
    paths[:30, 1] = paths[31:, 1] = np.nan
    numbers = np.array(list(numbered(paths, Tracker())))
    assert set(numbers[:, 0]) == {1}
    assert numbers[30, 1] == 2


def test_who_stands_is_held_still_and_who_walks_is_not_trailed() -> None:
    paths = walk(((100, 200), (100, 200)), ((100, 500), (700, 500)), frames=100)
    truth, rng, tracker = bodies(paths), np.random.default_rng(0), Tracker()
    shown = []
    for frame, places in enumerate(truth):
        shown.append(tracker(found(places + rng.normal(0, 2, places.shape)), frame / FPS).keypoints)
    off = np.linalg.norm(np.array(shown) - truth, axis=-1)[FPS:]  # after the first second
    accelerations = np.linalg.norm(np.diff(shown, 2, axis=0), axis=-1)[FPS:]
    as_found = 2 * np.sqrt(np.pi / 2)  # the mean length of the noise
    assert off[:, 0].mean() < 0.6 * as_found
    assert off[:, 1].mean() < 0.8 * as_found  # the walker makes 6 pixels a frame
    assert (accelerations.mean((0, 2)) < 0.25 * np.sqrt(6) * as_found).all()


def test_unsmoothed_keypoints_are_those_found_and_the_rest_is_kept() -> None:
    paths = bodies(walk(((100, 200), (300, 200)), frames=5))
    tracker = Tracker(TrackConfig(smooth=False))
    for frame, places in enumerate(paths):
        poses = found(places)
        tracked = tracker(poses, frame / FPS)
        np.testing.assert_array_equal(tracked.keypoints, poses.keypoints)
        assert tracked.scores is poses.scores and tracked.keypoint_scores is poses.keypoint_scores


def test_a_keypoint_that_was_not_found_stays_so_and_comes_back_where_it_is() -> None:
    paths, tracker = bodies(walk(((100, 200), (400, 200)))), Tracker()
    for frame, places in enumerate(paths):
        poses, lost = found(places), 20 <= frame < 40
        scores = poses.keypoint_scores.copy()
        scores[:, 9] *= not lost
        keypoints = np.where(scores[..., None] > 0, poses.keypoints, 0)
        tracked = tracker(replace(poses, keypoints=keypoints, keypoint_scores=scores), frame / FPS)
        if lost:
            assert tracked.keypoints[0, 9].tolist() == [0, 0] and not tracked.found[0, 9]
        elif frame >= 12:  # half a second, in which the motion is learnt
            assert np.abs(tracked.keypoints - places).max() < 3


def test_frames_without_anybody_and_times_that_do_not_advance() -> None:
    tracker = Tracker(TrackConfig(min_hits=1))
    poses = found(bodies(np.array([[100.0, 200], [300, 200]])))
    for seconds in (0.0, 0.1, 0.1, 0.05, 0.2):
        assert len(tracker(poses[[]], seconds)) == 0
        tracked = tracker(poses, seconds)
        assert np.isfinite(tracked.keypoints).all()
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1, 2]


def test_a_clock_that_steps_back_goes_on_from_there() -> None:
    """As of two recordings joined: who walks on is followed as before."""
    paths = bodies(walk(((100, 200), (500, 200)), frames=100))
    tracker, rng, off = Tracker(), np.random.default_rng(0), []
    for frame, places in enumerate(paths):
        seconds = frame / FPS - (2 if frame >= 60 else 0)
        tracked = tracker(found(places + rng.normal(0, 1, places.shape)), seconds)
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1]
        off.append(np.linalg.norm(tracked.keypoints - places, axis=-1).mean())
    assert np.mean(off[70:]) < 1


@pytest.mark.parametrize("seconds", [1.3, 10.0])
def test_patience_ends_also_when_the_next_frame_comes_late(seconds: float) -> None:
    tracker, poses = Tracker(), found(bodies(np.array([[100.0, 200]])))
    for frame in range(10):
        tracker(poses, frame / FPS)
    assert len(tracker(poses[[]], 0.9)) == 0
    tracked = tracker(poses, seconds)
    assert tracked.track_ids is not None
    assert tracked.track_ids.tolist() == ([1] if seconds < 9 / FPS + 1 else [2])


def test_a_late_frame_makes_nobody_of_somebody_elsewhere() -> None:
    tracker = Tracker()
    for frame in range(10):
        tracker(found(bodies(np.array([[100.0, 200]]))), frame / FPS)
    tracked = tracker(found(bodies(np.array([[900.0, 600]]))), 3600)
    assert tracked.track_ids is not None and tracked.track_ids.tolist() == [2]


@pytest.mark.parametrize(
    "body",
    [[(0, 0)], [(0, 0), (60, 0)], [(0, 0), (0, 60)], [(0, 0), (30, 0), (60, 1)]],
    ids=["one keypoint", "level", "upright", "nearly level"],
)
def test_bodies_without_area_keep_their_numbers(body: list[tuple[int, int]]) -> None:
    names = tuple("abc"[: len(body)])
    rod = Skeleton("rod", names, (), (0.05,) * len(body))
    tracker, rng = Tracker(), np.random.default_rng(0)
    for frame in range(50):
        places = np.add(body, (200 + frame, 200)) + rng.normal(0, 0.5, (len(body), 2))
        tracked = tracker(found(places[None], rod), frame / FPS)
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1]


def test_a_body_of_which_one_keypoint_is_left_for_a_while_keeps_its_number() -> None:
    tracker, rng = Tracker(), np.random.default_rng(0)
    for frame, places in enumerate(bodies(walk(((100, 200), (280, 200))))):
        poses = found(places + rng.normal(0, 1, places.shape))
        if 20 <= frame < 30:
            scores = poses.keypoint_scores * (np.arange(len(COCO)) == 0)
            poses = replace(poses, keypoint_scores=scores)
        tracked = tracker(poses, frame / FPS)
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1]


def test_what_cannot_be_followed_is_refused() -> None:
    tracker, poses = Tracker(), found(bodies(np.array([[100.0, 200]])))
    tracker(poses, 0.0)
    with pytest.raises(InputError, match="seconds must be a number, not nan"):
        tracker(poses, np.nan)
    with pytest.raises(InputError, match="same keypoints in every frame"):
        tracker(found(bodies(np.array([[100.0, 200]]), 0, CROWDPOSE), CROWDPOSE), 0.1)
    tracked = tracker(poses, 0.1)
    assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1]


def test_any_skeleton_and_frame_rate() -> None:
    """Twice a second, in steps that Object Keypoint Similarity alone would call a stranger."""
    paths = bodies(walk(((0, 100), (600, 100)), ((600, 300), (0, 300)), frames=20), 0, CROWDPOSE)
    tracker = Tracker()
    for frame, places in enumerate(paths):
        tracked = tracker(found(places, CROWDPOSE), frame / 2)
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1, 2]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(0, 99))
def test_no_two_people_have_one_number(counts: list[int], seed: int) -> None:
    rng, tracker = np.random.default_rng(seed), Tracker()
    for frame, count in enumerate(counts):
        places = bodies(rng.uniform(0, 200, (count, 2)), seed + frame)
        poses = found(places)
        scores = poses.keypoint_scores * (rng.random(poses.found.shape) < 0.5)
        poses = replace(poses, keypoint_scores=scores)
        tracked = tracker(poses, frame / FPS)
        assert tracked.track_ids is not None and len(set(tracked.track_ids.tolist())) == count
        assert (tracked.track_ids > 0).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_similarity", 0.0),
        ("patience", -1.0),
        ("confirm", 0),
        ("cutoff", 0.0),
        ("beta", np.nan),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        TrackConfig(**{name: value})  # type: ignore[arg-type]
