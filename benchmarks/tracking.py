"""Who is who in videos, and how steady: switched numbers, jitter and error, before and after.

python -m benchmarks.tracking                                # drawn people who walk past each other
python -m benchmarks.tracking --pedestrians pedestrians.mp4  # and OpenCV's vtest.avi, 100 frames
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from higherhrnet import COCO, Poses, Predictor
from higherhrnet.arrays import DoubleArray, Image
from higherhrnet.decoding.assignment import assign
from higherhrnet.io.sources import Source, read_frames
from higherhrnet.synthetic.bodies import POINTS, DrawnPeople, sample_people
from higherhrnet.synthetic.painting import paint_scene
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.tracking.tracker import TrackConfig, Tracker

Frames = list[tuple[Poses, float]]
"""What was found in each frame, and its time in seconds."""
Follow = Callable[[Poses, float], Poses]

RADIUS = 25.0
"""Pixels within which somebody found is somebody who is there."""

HIPS = [COCO.names.index(f"{side}_hip") for side in ("left", "right")]

# By eye, the middle of the hips of six people in the clip's frames; NaN before they come.
AT = [0, 10, 20, 25, 30, 40, 50, 60, 70, 80, 90, 99]
OUT = (np.nan, np.nan)
PEDESTRIANS = np.array([
    [(267, 270), (334, 257), (379, 237), (385, 229), (391, 226), (412, 224),
     (420, 226), (413, 224), (418, 224), (418, 222), (418, 220), (436, 217)],
    [(515, 198), (482, 202), (421, 215), (401, 214), (400, 211), (388, 219),
     (385, 220), (388, 224), (385, 221), (385, 219), (390, 216), (394, 213)],
    [(666, 281), (563, 281), (458, 279), (427, 262), (416, 259), (449, 231),
     (445, 209), (375, 210), (307, 207), (271, 207), (304, 226), (357, 237)],
    [OUT, (765, 345), (706, 327), (678, 314), (648, 303), (587, 284),
     (526, 264), (484, 251), (460, 235), (460, 215), (476, 199), (504, 182)],
    [OUT, OUT, (743, 320), (710, 307), (683, 298), (617, 281),
     (569, 264), (517, 244), (492, 231), (488, 209), (502, 199), (526, 186)],
    [OUT, OUT, OUT, OUT, OUT, (760, 329),
     (693, 316), (633, 289), (604, 262), (585, 236), (583, 216), (603, 196)],
], float)  # fmt: skip


def nearest() -> Follow:
    """What one would do without a tracker: everyone has the number of whom they are nearest to."""
    before: tuple[DoubleArray, NDArray[np.int64]] = np.zeros((0, 2)), np.zeros(0, np.int64)
    given = 0

    def follow(poses: Poses, _: float) -> Poses:
        nonlocal before, given
        middles, numbers = poses.keypoints[:, HIPS].mean(1, dtype=float), np.zeros(len(poses), int)
        away = np.linalg.norm(before[0][:, None] - middles, axis=2)
        old, new = pairs(away)
        numbers[new] = before[1][old]
        strangers = numbers == 0
        numbers[strangers] = given + 1 + np.arange(strangers.sum())
        given += int(strangers.sum())
        before = middles, numbers
        return replace(poses, track_ids=numbers)

    return follow


def pairs(away: DoubleArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns that belong together: the nearest in all, none RADIUS away or more."""
    if len(away) > away.shape[1]:
        columns, rows = pairs(away.T)
        return rows, columns
    if not away.size:
        return np.arange(0), np.arange(0)
    cost = np.minimum(np.nan_to_num(away, nan=RADIUS), RADIUS)
    columns = assign(cost)
    near = cost[np.arange(len(away)), columns] < RADIUS
    return np.flatnonzero(near), columns[near]


def switches(tracked: Sequence[Poses], truth: DoubleArray) -> tuple[int, int, int]:
    """How often people's numbers change, how many numbers there are, and sightings in all.

    As CLEAR MOT counts them: who had a number keeps it as long as it is near enough.

    Args:
        tracked: the poses of F frames.
        truth: (F, P, 2) the middle of each person's hips.
    """
    held: dict[int, int] = {}
    changed = sightings = 0
    for poses, people in zip(tracked, truth, strict=True):
        numbers = np.zeros(0, int) if poses.track_ids is None else poses.track_ids
        middles = poses.keypoints[:, HIPS].mean(1, dtype=float)
        away = np.linalg.norm(people[:, None] - middles, axis=2)
        same = np.array([held.get(person, 0) for person in range(len(people))])[:, None] == numbers
        there, found = pairs(np.where(same & (away < RADIUS), away - RADIUS, away))
        for person, number in zip(there.tolist(), numbers[found].tolist(), strict=True):
            changed += held.setdefault(person, number) != number
            held[person] = number
        sightings += len(there)
    given = np.concatenate([poses.track_ids for poses in tracked if poses.track_ids is not None])
    return changed, len(np.unique(given)), sightings


def jitter(tracked: Sequence[Poses]) -> float:
    """Mean acceleration of keypoints found under one number in three frames, pixels a frame²."""
    sizes = []
    for three in zip(tracked, tracked[1:], tracked[2:], strict=False):
        numbers = [poses.track_ids.tolist() for poses in three if poses.track_ids is not None]
        common = sorted(set(numbers[0]).intersection(*numbers[1:]))
        a, b, c = (
            poses[[own.index(number) for number in common]]
            for poses, own in zip(three, numbers, strict=True)
        )
        bends = np.linalg.norm(a.keypoints - 2 * b.keypoints + c.keypoints, axis=2)
        sizes.append(bends[a.found & b.found & c.found])
    return float(np.concatenate(sizes).mean())


def error(tracked: Sequence[Poses], truth: DoubleArray) -> float:
    """Mean distance in pixels of keypoints found to the truth's (F, P, K, 2)."""
    distances = []
    for poses, people in zip(tracked, truth, strict=True):
        middles = poses.keypoints[:, HIPS].mean(1, dtype=float)
        away = np.linalg.norm(people[:, None, HIPS].mean(2) - middles, axis=2)
        there, found = pairs(away)
        off = np.linalg.norm(poses.keypoints[found] - people[there], axis=2)
        distances.append(off[poses.found[found]])
    return float(np.concatenate(distances).mean())


def drawn_walk(
    seed: int, frames: int = 100, people: int = 3
) -> Iterator[tuple[Image, DoubleArray]]:
    """Drawn people who walk from side to side past each other, at 25 frames a second.

    Yields:
        (256, 448, 3) RGB, and the people's (P, K, 2) keypoints, hidden or not.
    """
    rng = np.random.default_rng(seed)
    canvas = draw_scene(seed, height=256, width=448, people=(0, 0), crowd=0).image
    heights = np.sort(rng.uniform(110, 170, people))
    one, other = (sample_people(rng, np.zeros((people, 2)), heights) for _ in range(2))
    ends = rng.permuted(np.linspace(50, 400, people)[None].repeat(2, 0), axis=1)
    level, phase, pace = rng.uniform(115, 145, people), rng.uniform(0, 7, people), rng.uniform(4, 8)
    names = [POINTS.index(name) for name in COCO.names]
    for frame in range(frames):
        share = 0.15 * (1 + np.sin(pace * frame / 25 + phase))[:, None, None]
        bodies = (1 - share) * one.bodies + share * other.bodies
        x = ends[0] + (ends[1] - ends[0]) * frame / frames
        bodies[..., :2] += np.stack([x, level], 1)[:, None]
        image = paint_scene(canvas, DrawnPeople(bodies, heights, one.colors)).image
        yield image, bodies[:, names, :2]


def ways(config: TrackConfig) -> dict[str, Callable[[], Follow]]:
    """What is compared; each is made anew for every video."""
    return {
        "to the nearest, as found": nearest,
        "tracked, as found": lambda: Tracker(replace(config, smooth=False)),
        "tracked and steadied": lambda: Tracker(config),
    }


def main(
    model: str = "default",
    pedestrians: Path | None = None,
    walks: int = 5,
    noise: float = 1.5,
    config: TrackConfig | None = None,
) -> None:
    """Prints a table each for drawn walks, their true keypoints with noise, and the clip.

    Args:
        model: What finds people.
        pedestrians: The clip.
        walks: How many, of four seconds.
        noise: Of the true keypoints, pixels.
        config: Of the tracker.
    """
    compared = ways(config or TrackConfig())
    predictor, drawn = Predictor.load(model), [list(drawn_walk(seed)) for seed in range(walks)]
    truths = [np.array([people for _, people in walk]) for walk in drawn]
    found = [[(predictor(image), i / 25) for i, (image, _) in enumerate(walk)] for walk in drawn]
    say(f"{walks} drawn walks, {model}", compared, found, truths)
    say(f"true keypoints ± {noise} px", compared, [disturbed(t, noise) for t in truths], truths)
    if pedestrians:
        source = Source(pedestrians.name, pedestrians)
        seen = [(predictor(frame.image), frame.time or 0.0) for frame in read_frames(source)]
        every = np.arange(len(seen))
        middles = np.array([[np.interp(every, AT, xy) for xy in p.T] for p in PEDESTRIANS])
        say(pedestrians.name, compared, [seen], [middles.transpose(2, 0, 1)[:, :, None]])


def disturbed(truth: DoubleArray, noise: float) -> Frames:
    """The people as they are, but for noise, in the same order."""
    places = truth + np.random.default_rng(0).normal(0, noise, truth.shape)
    sure = np.full(truth.shape[1:3], 0.8), np.full(truth.shape[1], 0.8)
    return [(Poses(people, *sure), i / 25) for i, people in enumerate(places)]


def say(
    title: str,
    compared: dict[str, Callable[[], Follow]],
    found: list[Frames],
    truths: list[DoubleArray],
) -> None:
    """Prints a table.

    Args:
        title: of the table.
        compared: the ways, each made anew for every video.
        found: each video's frames.
        truths: each video's (F, P, K, 2), or (F, P, 1, 2) where only the middles are known.
    """
    print(f"\n| {title} | switches | numbers | sightings | jitter | error |")
    print("| :--- | ---: | ---: | ---: | ---: | ---: |")
    for name, make in compared.items():
        counts, figures = [], []
        for frames, truth in zip(found, truths, strict=True):
            follow = make()
            run = [follow(*frame) for frame in frames]
            hips = truth if truth.shape[2] == 1 else truth[:, :, HIPS]
            counts.append(switches(run, hips.mean(2)))
            off = np.nan if truth.shape[2] == 1 else error(run, truth)
            figures.append((jitter(run), off))
        changed, numbers, sightings = np.sum(counts, 0)
        shaken, off = np.mean(figures, 0)
        print(f"| {name} | {changed} | {numbers} | {sightings} | {shaken:.2f} | {off:.2f} |")


if __name__ == "__main__":
    tyro.cli(main)
