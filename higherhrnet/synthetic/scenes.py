"""Drawn scenes: pictures of people whose keypoints are known exactly, for tests and overfitting.

What has a left is reddish there and bluish on the right, and eyes, nose and the trim of the shirt
show which way a person faces. A mirror contradicts the colours: where pictures are mirrored, in
augmentation or in a flip test, draw with `side_tones=False`. Coordinates are as in painting.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import DoubleArray, Image
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path
from higherhrnet.skeleton import COCO, Skeleton
from higherhrnet.synthetic.bodies import hulls, sample_people
from higherhrnet.synthetic.painting import Objects, Scene, fill, paint_scene

Seed = int | Sequence[int] | np.random.Generator


def draw_scene(
    seed: Seed,
    *,
    height: int = 256,
    width: int = 256,
    people: tuple[int, int] = (1, 5),
    objects: tuple[int, int] = (0, 3),
    crowd: float = 0.1,
    skeleton: Skeleton = COCO,
    side_tones: bool = True,
) -> Scene:
    """A scene drawn by chance; the same seed and settings give the same scene.

    Args:
        seed: one number or several, or a generator to go on with.
        height: of the picture, pixels.
        width: of the picture, pixels.
        people: the least and the most whose keypoints are given; who shows none joins the crowd.
        objects: the least and the most that stand among them.
        crowd: probability, 0 to 1, of a cluster of small people whose keypoints are not given.
        skeleton: the keypoints that are given.
        side_tones: left is reddish and right bluish; False: each person draws lots for it, so that
            only the body's front tells left from right, and mirroring does no harm.

    Raises:
        InputError: the skeleton names a keypoint that drawn people do not have.
    """
    rng = np.random.default_rng(seed)
    size = np.array([width, height])
    canvas = _background(rng, height, width)
    grain = rng.integers(0, 16, canvas.shape, np.uint8)

    given = int(rng.integers(*people, endpoint=True))
    members = int(rng.integers(8, 17)) if rng.random() < crowd else 0
    far, near = _clustered(rng, members, size), _spread(rng, given, size)
    hips, heights = (np.concatenate(pair) for pair in zip(far, near, strict=True))
    everyone = sample_people(rng, hips, heights, side_tones)

    count = int(rng.integers(*objects, endpoint=True))
    behind = members + rng.integers(0, given, count, endpoint=True)
    things = Objects(*_things(rng, count, size), behind)
    scene = paint_scene(canvas, everyone, things, members, skeleton)
    return replace(scene, image=np.asarray(cv2.add(scene.image, grain), np.uint8))


def _spread(
    rng: np.random.Generator, count: int, size: NDArray[np.int64]
) -> tuple[DoubleArray, DoubleArray]:
    """(P, 2) hips and (P,) heights of people side by side, the small ones mostly far, so first."""
    heights = rng.choice([0.35, 0.6, 0.9], count) * rng.uniform(0.7, 1.2, count) * size.min()
    heights = heights[np.argsort(heights * rng.uniform(0.7, 1.4, count))]
    columns = (rng.permutation(count) + rng.uniform(0.1, 0.9, count)) / max(count, 1)
    return np.stack([0.05 + 0.9 * columns, rng.uniform(0.35, 0.7, count)], 1) * size, heights


def _clustered(
    rng: np.random.Generator, count: int, size: NDArray[np.int64]
) -> tuple[DoubleArray, DoubleArray]:
    """(P, 2) hips and (P,) heights of small people who stand close together."""
    middle = rng.uniform(0.25, 0.75, 2) * size
    hips = middle + rng.normal(0, (0.12, 0.03), (count, 2)) * size.min()
    return hips, rng.uniform(0.12, 0.22, count) * size.min()


def _background(rng: np.random.Generator, height: int, width: int) -> Image:
    """(H, W, 3) soft patches with a weave, and things in all colours strewn over them."""
    patches = rng.integers(60, 190, (4, 5, 1)) + rng.integers(-30, 31, (4, 5, 3))
    weave = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3))
    canvas, fine = (
        cv2.resize(grid.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        for grid in (patches, weave)
    )
    outlines, colors = _things(rng, int(rng.integers(4, 12)), np.array([width, height]))
    fill(canvas, outlines, colors, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(canvas, 0.85, fine, 0.15, 0), np.uint8)


def _things(
    rng: np.random.Generator, count: int, size: NDArray[np.int64]
) -> tuple[DoubleArray, DoubleArray]:
    """(O, 24, 2) outlines of poles, boards and balls within a width and height, (O, 3) colours."""
    centres = rng.uniform(0, size, (count, 1, 2)) + rng.normal(0, 0.08, (count, 3, 2)) * size.min()
    radii = rng.uniform(0.01, 0.05, (count, 1)) * size.min() * np.ones(3)
    return hulls(centres, radii), rng.uniform(30, 220, (count, 3))


def write_scenes(
    folder: Path,
    count: int,
    seed: int = 0,
    *,
    skeleton: Skeleton = COCO,
    **settings: Any,  # noqa: ANN401
) -> Path:
    """Write scenes in COCO's form: `images/000000000001.png`, … and `annotations.json`.

    The latter is returned. It appears last, in one move: where it is, the set is whole.

    Args:
        folder: made if need be; what it holds by these names is replaced.
        count: number of scenes.
        seed: scene i is `draw_scene((seed, i))`, counted from 1, however many there are.
        skeleton: the keypoints that are given.
        settings: any other of `draw_scene`'s.

    Raises:
        InputError: the folder cannot be written, or the skeleton cannot be drawn.
    """
    target = folder / "annotations.json"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    try:
        target.unlink(missing_ok=True)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for id_ in range(1, count + 1):
            scene = draw_scene((seed, id_), skeleton=skeleton, **settings)
            name = f"{id_:012d}.png"
            png = cv2.imencode(".png", cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))[1]
            (folder / "images" / name).write_bytes(png.tobytes())
            height, width = scene.owners.shape
            images.append({"id": id_, "file_name": name, "height": height, "width": width})
            annotations += scene.annotations(id_, len(annotations) + 1)
        dataset = {
            "info": {"description": f"{count} drawn scenes, seed {seed}"},
            "images": images,
            "annotations": annotations,
            "categories": [skeleton.to_category()],
        }
        with atomic_path(target) as beside:
            beside.write_text(json.dumps(dataset))
    except OSError as error:
        raise InputError(f"{folder}: cannot write scenes there: {error.strerror}") from error
    return target
