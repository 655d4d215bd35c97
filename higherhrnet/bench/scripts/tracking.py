"""Measures identity switches and jitter of tracking: python -m higherhrnet.bench.scripts.tracking.

It needs SciPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro
from scipy.optimize import linear_sum_assignment

from higherhrnet.arrays import BoolArray, DoubleArray, Image, IndexArray
from higherhrnet.bench.tables import markdown_table
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.sources import Source, read_frames
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.bodies import POINTS, SyntheticPeople, sample_people
from higherhrnet.synthetic.painting import paint_scene
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.tracking.tracker import TrackConfig, Tracker

MAX_DISTANCE = 25.0
"""Pixels between the middles of the hips up to which people match."""
HIPS = [COCO.names.index(f"{side}_hip") for side in ("left", "right")]

Video = tuple[list[Poses], list[float], DoubleArray]
"""Poses and times in seconds of F frames, and (F, P, K, 2) true keypoints; NaN where unknown."""


class NearestTracker:
    """The baseline: each pose takes the track ID of the nearest pose of the previous frame."""

    def __init__(self) -> None:
        self.previous, self.count = Poses.from_coco([]), 0

    def __call__(self, poses: Poses, seconds: float) -> Poses:
        """The poses with track IDs."""
        ids = np.zeros(len(poses), int)
        old, new = match(self.previous.keypoints.astype(float), poses)
        ids[new] = track_ids(self.previous)[old]
        ids[ids == 0] = self.count + 1 + np.arange((ids == 0).sum())
        self.previous, self.count = replace(poses, track_ids=ids), max([self.count, *ids])
        return self.previous


def track_ids(poses: Poses) -> IndexArray:
    """(P,) the track IDs of poses."""
    return np.zeros(0, int) if poses.track_ids is None else poses.track_ids


def match(
    keypoints: DoubleArray, poses: Poses, preferred: BoolArray | bool = False
) -> tuple[IndexArray, IndexArray]:
    """Matches (P, K, 2) keypoints with Q poses by the hips, with the least total distance.

    Pairs that are (P, Q) `preferred` match before others if they are near enough.

    Returns:
        The indices of the matched people and poses.
    """
    hips, others = keypoints[:, HIPS].mean(1), poses.keypoints[:, HIPS].mean(1, dtype=float)
    distances = np.fmin(np.linalg.norm(hips[:, None] - others, axis=2), MAX_DISTANCE)
    near = distances < MAX_DISTANCE
    rows, columns = linear_sum_assignment(distances - MAX_DISTANCE * (preferred & near))
    matched = near[rows, columns]
    return rows[matched], columns[matched]


def identities_and_error(tracked: Sequence[Poses], truth: DoubleArray) -> tuple[int, int, float]:
    """Compares poses with (F, P, K, 2) true keypoints, as CLEAR MOT does.

    Returns:
        The number of times that the track ID of a person changes, the number of track IDs, and the
        mean distance of matched keypoints in pixels (NaN where only the hips are known).
    """
    switches, ids, errors, last = 0, set[int](), [], np.zeros(truth.shape[1], int)
    for poses, people in zip(tracked, truth, strict=True):
        person, pose = match(people, poses, last[:, None] == track_ids(poses))
        current = track_ids(poses)[pose]
        switches += int(((last[person] != current) & (last[person] > 0)).sum())
        last[person] = current
        ids.update(track_ids(poses).tolist())
        person, pose = match(people, poses)
        distances = np.linalg.norm(poses.keypoints[pose] - people[person], axis=2)
        errors.append(distances[poses.found[pose]])
    return switches, len(ids), float(np.concatenate(errors).mean())


def count_missed(tracked: Sequence[Poses], truth: DoubleArray) -> int:
    """Counts the people in all frames of (F, P, K, 2) true keypoints that match no pose."""
    missed = 0
    for poses, people in zip(tracked, truth, strict=True):
        known = np.isfinite(people[:, HIPS]).all((1, 2))
        missed += int(known.sum()) - len(match(people, poses)[0])
    return missed


def jitter(tracked: Sequence[Poses]) -> float:
    """The mean acceleration of keypoints of one track in three frames, in pixels per frame²."""
    count = 1 + max(max(track_ids(poses), default=0) for poses in tracked)
    places = np.full((len(tracked), count, len(COCO), 2), np.nan)
    for frame, poses in enumerate(tracked):
        found = poses.found[..., None]
        places[frame, track_ids(poses)] = np.where(found, poses.keypoints, np.nan)
    return float(np.nanmean(np.linalg.norm(np.diff(places, 2, axis=0), axis=-1)))


def synthetic_walk(seed: int) -> Iterator[tuple[Image, DoubleArray]]:
    """Three people who walk past each other for 100 frames, at 25 frames per second.

    Yields:
        A (256, 448, 3) RGB image and the (3, K, 2) keypoints.
    """
    people, frames, rng = 3, 100, np.random.default_rng(seed)
    background = draw_scene(seed, height=256, width=448, people=(0, 0), crowd=0).image
    heights = np.sort(rng.uniform(110, 170, people))
    first, second = (sample_people(rng, np.zeros((people, 2)), heights) for _ in range(2))
    start, end = rng.permuted(np.linspace(50, 400, people)[None].repeat(2, 0), axis=1)
    y, phase, pace = rng.uniform(115, 145, people), rng.uniform(0, 7, people), rng.uniform(4, 8)
    indices = [POINTS.index(name) for name in COCO.names]
    for frame in range(frames):
        weight = 0.15 * (1 + np.sin(pace * frame / 25 + phase))[:, None, None]
        bodies = (1 - weight) * first.bodies + weight * second.bodies
        x = start + (end - start) * frame / frames
        bodies[..., :2] += np.stack([x, y], 1)[:, None]
        image = paint_scene(background, SyntheticPeople(bodies, heights, first.colors)).image
        yield image, bodies[:, indices, :2]


def true_hips(file: Path, frames: int) -> DoubleArray:
    """(F, P, K, 2) keypoints, of which only the hips are known, from --hips.

    Between the annotated frames they are interpolated; before the first one, a person is absent.
    """
    frame, person, x, y = np.loadtxt(file, delimiter=",", skiprows=1, unpack=True)
    every, masks = np.arange(frames), [person == number for number in np.unique(person)]
    hips = [[np.interp(every, frame[m], v[m], left=np.nan) for v in (x, y)] for m in masks]
    truth = np.full((frames, len(masks), len(COCO), 2), np.nan)
    truth[:, :, HIPS] = np.transpose(hips, (2, 0, 1))[:, :, None]
    return truth


def print_table(title: str, videos: Sequence[Video], config: TrackConfig) -> None:
    """Prints the results of each tracker: sums of the counts and means over the videos."""
    trackers: dict[str, Callable[[], Callable[[Poses, float], Poses]]] = {
        "nearest pose": NearestTracker,
        "tracked": lambda: Tracker(replace(config, smooth=False)),
        "tracked and smoothed": lambda: Tracker(config),
    }
    rows = []
    for name, create in trackers.items():
        results = []
        for poses, seconds, truth in videos:
            tracked = list(map(create(), poses, seconds))
            counts = *identities_and_error(tracked, truth), count_missed(tracked, truth)
            results.append((*counts, jitter(tracked)))
        switches, ids, errors, missed, jitters = np.array(results).T
        means = [f"{v.mean():.2f}".replace("nan", "") for v in (jitters, errors)]
        rows.append([name, *(int(count.sum()) for count in (switches, ids, missed)), *means])
    headings = [
        "tracker",
        "switches",
        "track IDs",
        "missed",
        "jitter, pixels/frame²",
        "error, pixels",
    ]
    print(f"{title}:\n\n{markdown_table(headings, rows)}\n")


def main(
    model: str = "default",
    video: Path | None = None,
    hips: Path | None = None,
    walks: int = 5,
    noise: float = 1.5,
    config: TrackConfig = TrackConfig(),
) -> None:
    """Prints a table for synthetic walks, for their true keypoints with noise, and for a video.

    Args:
        model: The model: a file or a name.
        video: A video whose people are annotated in --hips.
        hips: A CSV file with the columns frame, person, x and y: the middle of the hips in pixels.
        walks: Number of synthetic videos of four seconds.
        noise: Standard deviation in pixels of the noise that is added to the true keypoints.
        config: Settings of the tracker.
    """
    predictor = Predictor.load(model)
    predicted: list[Video] = []
    noisy: list[Video] = []
    for seed in range(walks):
        images, keypoints = zip(*synthetic_walk(seed), strict=True)
        truth, seconds = np.array(keypoints), [frame / 25 for frame in range(len(images))]
        scores = np.full(truth.shape[1:3], 0.8), np.full(truth.shape[1], 0.8)
        moved = truth + np.random.default_rng(0).normal(0, noise, truth.shape)
        predicted.append((predictor(images), seconds, truth))
        noisy.append(([Poses(people, *scores) for people in moved], seconds, truth))
    print_table(f"{walks} synthetic walks", predicted, config)
    print_table(f"True keypoints with noise of {noise} pixels", noisy, config)
    if video and hips:
        frames = list(read_frames(Source(video.name, video)))
        poses = predictor(frame.image for frame in frames)
        truth = true_hips(hips, len(frames))
        print_table(video.name, [(poses, [f.time or 0.0 for f in frames], truth)], config)


if __name__ == "__main__":
    tyro.cli(main)
