"""Tests of the tracker with synthetic people on known paths, detected in random order."""

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
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.tracking.tracker import TrackConfig

FPS = 25


def bodies(centers: DoubleArray, seed: int = 0, skeleton: Skeleton = COCO) -> DoubleArray:
    """(..., P, 2) centers → (..., P, K, 2) bodies of random shape, about 40 by 100 pixels."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform((-20, -50), (20, 50), (centers.shape[-2], len(skeleton), 2))
    return centers[..., None, :] + shape


def detected(keypoints: DoubleArray, skeleton: Skeleton = COCO) -> Poses:
    people, count = keypoints.shape[:2]
    return Poses(
        keypoints.astype(np.float32),
        np.full((people, count), 0.9, np.float32),
        np.full(people, 0.9, np.float32),
        skeleton,
    )


def track_ids(
    paths: DoubleArray, tracker: Tracker, noise: float = 2.0, seed: int = 0
) -> Iterator[NDArray[np.int64]]:
    """The (P,) track IDs of (F, P, 2) people in each frame; NaN is not detected and has ID 0."""
    rng = np.random.default_rng(seed)
    for frame, keypoints in enumerate(bodies(paths)):
        order = rng.permutation(np.flatnonzero(np.isfinite(keypoints).all((1, 2))))
        poses = detected(keypoints[order] + rng.normal(0, noise, keypoints[order].shape))
        tracked = tracker(poses, frame / FPS)
        ids = np.zeros(len(keypoints), np.int64)
        assert tracked.track_ids is not None
        ids[order] = tracked.track_ids
        yield ids


def walk(*ends: tuple[tuple[float, float], tuple[float, float]], frames: int = 60) -> DoubleArray:
    """(F, P, 2) positions of people who walk at constant speed from a start to an end."""
    share = np.linspace(0, 1, frames)[:, None, None]
    starts, stops = np.array(ends, float).transpose(1, 0, 2)
    return np.asarray(starts + share * (stops - starts))


@pytest.mark.parametrize("seed", range(3))
def test_track_ids_do_not_depend_on_the_order_of_people(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = np.stack([np.linspace(50, 750, 8), rng.uniform(100, 500, 8)], 1)
    paths = walk(*zip(starts.tolist(), (starts + rng.normal(0, 40, (8, 2))).tolist(), strict=True))
    ids = list(track_ids(paths, Tracker(), seed=seed))
    assert sorted(ids[0]) == [*range(1, 9)]
    assert all((frame_ids == ids[0]).all() for frame_ids in ids)


def test_people_who_cross_keep_their_track_ids() -> None:
    """They have the same shape and meet at one point, so that only their motion differs."""
    paths = walk(((100, 200), (500, 200)), ((500, 204), (100, 204)), ((300, 60), (300, 340)))
    shape = bodies(np.zeros((1, 2)))
    tracker, ids = Tracker(), []
    rng = np.random.default_rng(1)
    for frame, keypoints in enumerate(paths[:, :, None] + shape[0]):
        order = rng.permutation(3)
        poses = detected(keypoints[order] + rng.normal(0, 2, keypoints.shape))
        tracked = tracker(poses, frame / FPS)
        assert tracked.track_ids is not None
        ids.append(tracked.track_ids[np.argsort(order)])
    assert (np.array(ids) == ids[0]).all()


def test_a_person_who_is_hidden_briefly_keeps_the_track_id() -> None:
    paths = walk(((100, 200), (500, 200)), ((100, 420), (500, 420)))
    hidden = slice(25, 43)  # 0.72 seconds, 120 pixels, three times the width of a body
    paths[hidden, 0] = np.nan
    ids = np.array(list(track_ids(paths, Tracker())))
    assert (ids[hidden, 0] == 0).all()
    assert set(ids[:, 0]) == {0, ids[0, 0]}
    assert set(ids[:, 1]) == {ids[0, 1]}


@pytest.mark.parametrize(("max_lost_seconds", "expected"), [(1, {0, 1, 2}), (2, {0, 1})])
def test_a_person_who_is_hidden_too_long_gets_a_new_track_id(
    max_lost_seconds: float, expected: set[int]
) -> None:
    paths = walk(((100, 200), (100, 200)))
    paths[20:50] = np.nan  # 1.2 seconds
    tracker = Tracker(TrackConfig(max_lost_seconds=max_lost_seconds))
    assert set(np.ravel(list(track_ids(paths, tracker)))) == expected


def test_a_false_detection_in_one_frame_takes_no_existing_track_id() -> None:
    paths = walk(((100, 200), (500, 200)), ((300, 200), (300, 200)))
    paths[:30, 1] = paths[31:, 1] = np.nan
    ids = np.array(list(track_ids(paths, Tracker())))
    assert set(ids[:, 0]) == {1}
    assert ids[30, 1] == 2


def test_people_with_low_scores_continue_tracks_but_start_none() -> None:
    tracker, shape = Tracker(TrackConfig(min_new_score=0.5)), bodies(np.zeros((1, 2)))[0]
    frames = [  # the centers of the people, and their scores
        ([(100, 200), (400, 200)], [0.5, 0.49]),
        ([(402, 200), (101, 200)], [0.4, 0.1]),
        ([(404, 200), (102, 200)], [0.7, 0.1]),
        ([(406, 200), (103, 200)], [0.1, 0.1]),
    ]
    tracks = []
    for number, (centers, scores) in enumerate(frames):
        poses = detected(np.array(centers, float)[:, None] + shape)
        tracked = tracker(replace(poses, scores=np.array(scores, np.float32)), number / FPS)
        assert tracked.track_ids is not None
        center_x = tracked.keypoints.mean(1)[:, 0] - shape[:, 0].mean()
        tracks.append(dict(zip(tracked.track_ids.tolist(), center_x.round(-2), strict=True)))
    assert tracks == [{1: 100}, {1: 100}, {1: 100, 2: 400}, {1: 100, 2: 400}]


def test_smoothing_reduces_jitter_without_delaying_people_who_walk() -> None:
    paths = walk(((100, 200), (100, 200)), ((100, 500), (700, 500)), frames=100)
    truth, rng, tracker = bodies(paths), np.random.default_rng(0), Tracker()
    smoothed = []
    for frame, keypoints in enumerate(truth):
        poses = detected(keypoints + rng.normal(0, 2, keypoints.shape))
        smoothed.append(tracker(poses, frame / FPS).keypoints)
    error = np.linalg.norm(np.array(smoothed) - truth, axis=-1)[FPS:]  # after the first second
    accelerations = np.linalg.norm(np.diff(smoothed, 2, axis=0), axis=-1)[FPS:]
    noise = 2 * np.sqrt(np.pi / 2)  # mean length of the noise vectors
    assert error[:, 0].mean() < 0.6 * noise
    assert error[:, 1].mean() < 0.8 * noise  # this person walks 6 pixels per frame
    assert (accelerations.mean((0, 2)) < 0.25 * np.sqrt(6) * noise).all()


def test_without_smoothing_only_track_ids_are_added() -> None:
    paths = bodies(walk(((100, 200), (300, 200)), frames=5))
    tracker = Tracker(TrackConfig(smooth=False))
    for frame, keypoints in enumerate(paths):
        poses = detected(keypoints)
        tracked = tracker(poses, frame / FPS)
        np.testing.assert_array_equal(tracked.keypoints, poses.keypoints)
        assert tracked.scores is poses.scores and tracked.keypoint_scores is poses.keypoint_scores


def test_a_missing_keypoint_stays_missing_and_returns_at_its_position() -> None:
    paths, tracker = bodies(walk(((100, 200), (400, 200)))), Tracker()
    for frame, truth in enumerate(paths):
        poses, missing = detected(truth), 20 <= frame < 40
        scores = poses.keypoint_scores.copy()
        scores[:, 9] *= not missing
        keypoints = np.where(scores[..., None] > 0, poses.keypoints, 0)
        tracked = tracker(replace(poses, keypoints=keypoints, keypoint_scores=scores), frame / FPS)
        if missing:
            assert tracked.keypoints[0, 9].tolist() == [0, 0] and not tracked.found[0, 9]
        elif frame >= 12:  # after half a second, in which the velocity is estimated
            assert np.abs(tracked.keypoints - truth).max() < 3


def test_empty_frames_and_timestamps_that_do_not_increase() -> None:
    tracker = Tracker(TrackConfig(min_hits=1))
    poses = detected(bodies(np.array([[100.0, 200], [300, 200]])))
    for seconds in (0.0, 0.1, 0.1, 0.05, 0.2):
        assert len(tracker(poses[[]], seconds)) == 0
        tracked = tracker(poses, seconds)
        assert np.isfinite(tracked.keypoints).all()
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1, 2]


def test_people_are_tracked_across_a_decrease_of_the_timestamp() -> None:
    """Timestamps decrease where two recordings are joined."""
    paths = bodies(walk(((100, 200), (500, 200)), frames=100))
    tracker, rng, errors = Tracker(), np.random.default_rng(0), []
    for frame, keypoints in enumerate(paths):
        seconds = frame / FPS - (2 if frame >= 60 else 0)
        tracked = tracker(detected(keypoints + rng.normal(0, 1, keypoints.shape)), seconds)
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1]
        errors.append(np.linalg.norm(tracked.keypoints - keypoints, axis=-1).mean())
    assert np.mean(errors[70:]) < 1


@pytest.mark.parametrize("seconds", [1.3, 10.0])
def test_the_maximum_lost_time_applies_across_empty_and_late_frames(seconds: float) -> None:
    tracker, poses = Tracker(), detected(bodies(np.array([[100.0, 200]])))
    for frame in range(10):
        tracker(poses, frame / FPS)
    assert len(tracker(poses[[]], 0.9)) == 0
    tracked = tracker(poses, seconds)
    assert tracked.track_ids is not None
    assert tracked.track_ids.tolist() == ([1] if seconds < 9 / FPS + 1 else [2])


def test_a_distant_person_after_a_long_gap_gets_a_new_track_id() -> None:
    tracker = Tracker()
    for frame in range(10):
        tracker(detected(bodies(np.array([[100.0, 200]]))), frame / FPS)
    tracked = tracker(detected(bodies(np.array([[900.0, 600]]))), 3600)
    assert tracked.track_ids is not None and tracked.track_ids.tolist() == [2]


@pytest.mark.parametrize(
    "body",
    [[(0, 0)], [(0, 0), (60, 0)], [(0, 0), (0, 60)], [(0, 0), (30, 0), (60, 1)]],
    ids=["one keypoint", "horizontal", "vertical", "nearly horizontal"],
)
def test_bodies_without_area_keep_their_track_ids(body: list[tuple[int, int]]) -> None:
    names = tuple("abc"[: len(body)])
    rod = Skeleton("rod", names, (), (0.05,) * len(body))
    tracker, rng = Tracker(), np.random.default_rng(0)
    for frame in range(50):
        keypoints = np.add(body, (200 + frame, 200)) + rng.normal(0, 0.5, (len(body), 2))
        tracked = tracker(detected(keypoints[None], rod), frame / FPS)
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1]


def test_a_body_with_a_single_visible_keypoint_keeps_its_track_id() -> None:
    tracker, rng = Tracker(), np.random.default_rng(0)
    for frame, keypoints in enumerate(bodies(walk(((100, 200), (280, 200))))):
        poses = detected(keypoints + rng.normal(0, 1, keypoints.shape))
        if 20 <= frame < 30:
            scores = poses.keypoint_scores * (np.arange(len(COCO)) == 0)
            poses = replace(poses, keypoint_scores=scores)
        tracked = tracker(poses, frame / FPS)
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1]


def test_invalid_timestamps_and_other_skeletons_are_rejected() -> None:
    tracker, poses = Tracker(), detected(bodies(np.array([[100.0, 200]])))
    tracker(poses, 0.0)
    with pytest.raises(InputError, match="seconds must be a finite number, not nan"):
        tracker(poses, np.nan)
    with pytest.raises(InputError, match="same keypoints in every frame"):
        tracker(detected(bodies(np.array([[100.0, 200]]), 0, CROWDPOSE), CROWDPOSE), 0.1)
    tracked = tracker(poses, 0.1)
    assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1]


def test_other_skeletons_and_low_frame_rates() -> None:
    """At two frames per second, people move too far for Object Keypoint Similarity alone."""
    paths = bodies(walk(((0, 100), (600, 100)), ((600, 300), (0, 300)), frames=20), 0, CROWDPOSE)
    tracker = Tracker()
    for frame, keypoints in enumerate(paths):
        tracked = tracker(detected(keypoints, CROWDPOSE), frame / 2)
        assert tracked.track_ids is not None and tracked.track_ids.tolist() == [1, 2]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(0, 99))
def test_track_ids_of_a_frame_are_unique(counts: list[int], seed: int) -> None:
    rng, tracker = np.random.default_rng(seed), Tracker()
    for frame, count in enumerate(counts):
        poses = detected(bodies(rng.uniform(0, 200, (count, 2)), seed + frame))
        scores = poses.keypoint_scores * (rng.random(poses.found.shape) < 0.5)
        poses = replace(poses, keypoint_scores=scores)
        tracked = tracker(poses, frame / FPS)
        assert tracked.track_ids is not None and len(set(tracked.track_ids.tolist())) == count
        assert (tracked.track_ids > 0).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_similarity", 0.0),
        ("max_lost_seconds", -1.0),
        ("min_hits", 0),
        ("min_new_score", 1.1),
        ("min_cutoff", 0.0),
        ("beta", np.nan),
    ],
)
def test_invalid_settings_are_rejected(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        TrackConfig(**{name: value})  # type: ignore[arg-type]
