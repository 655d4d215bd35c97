"""Synthetic scenes: images of people with exact keypoints, for tests and for overfitting.

Left limbs, eyes and ears are reddish and right ones bluish. Eyes, nose and the trim of the shirt
show which way a person faces. Flipping an image exchanges the colors of left and right, so use
`side_colors=False` for training with flips and for testing with a flipped view. The coordinates are
those of `painting`.
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
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.bodies import convex_hulls, sample_people
from higherhrnet.synthetic.painting import Objects, Scene, fill, paint_scene

Seed = int | Sequence[int] | np.random.Generator
"""One or several numbers, or a generator, which is advanced."""


def draw_scene(
    seed: Seed,
    *,
    height: int = 256,
    width: int = 256,
    people: tuple[int, int] = (1, 5),
    objects: tuple[int, int] = (0, 3),
    crowd: float = 0.1,
    skeleton: Skeleton = COCO,
    side_colors: bool = True,
) -> Scene:
    """Draws a random scene; equal seeds and settings give equal scenes.

    Args:
        seed: the seed of the random numbers.
        height: height of the image in pixels.
        width: width of the image in pixels.
        people: minimum and maximum number of people with annotated keypoints. People without a
            visible keypoint become part of the crowd.
        objects: minimum and maximum number of objects between the people.
        crowd: probability, 0 to 1, of a group of small people without annotated keypoints.
        skeleton: the keypoints to annotate.
        side_colors: whether left limbs are always reddish and right limbs bluish; False: the two
            are exchanged at random for each person, so that only the front of the body
            distinguishes left from right.

    Raises:
        InputError: the skeleton has a keypoint that synthetic people do not have.
    """
    rng = np.random.default_rng(seed)
    size = np.array([width, height])
    canvas = _background(rng, height, width)
    grain = rng.integers(0, 16, canvas.shape, np.uint8)

    num_people = int(rng.integers(*people, endpoint=True))
    crowd_size = int(rng.integers(8, 17)) if rng.random() < crowd else 0
    far, near = _place_crowd(rng, crowd_size, size), _place_people(rng, num_people, size)
    hips, heights = (np.concatenate(pair) for pair in zip(far, near, strict=True))
    all_people = sample_people(rng, hips, heights, side_colors)

    num_objects = int(rng.integers(*objects, endpoint=True))
    people_behind = crowd_size + rng.integers(0, num_people, num_objects, endpoint=True)
    all_objects = Objects(*_sample_objects(rng, num_objects, size), people_behind)
    scene = paint_scene(canvas, all_people, all_objects, crowd_size, skeleton)
    return replace(scene, image=np.asarray(cv2.add(scene.image, grain), np.uint8))


def _place_people(
    rng: np.random.Generator, count: int, size: NDArray[np.int64]
) -> tuple[DoubleArray, DoubleArray]:
    """Samples (P, 2) hips and (P,) heights of people side by side, small ones mostly first."""
    heights = rng.choice([0.35, 0.6, 0.9], count) * rng.uniform(0.7, 1.2, count) * size.min()
    heights = heights[np.argsort(heights * rng.uniform(0.7, 1.4, count))]
    columns = (rng.permutation(count) + rng.uniform(0.1, 0.9, count)) / max(count, 1)
    return np.stack([0.05 + 0.9 * columns, rng.uniform(0.35, 0.7, count)], 1) * size, heights


def _place_crowd(
    rng: np.random.Generator, count: int, size: NDArray[np.int64]
) -> tuple[DoubleArray, DoubleArray]:
    """Samples (P, 2) hips and (P,) heights of small people close together."""
    center = rng.uniform(0.25, 0.75, 2) * size
    hips = center + rng.normal(0, (0.12, 0.03), (count, 2)) * size.min()
    return hips, rng.uniform(0.12, 0.22, count) * size.min()


def _background(rng: np.random.Generator, height: int, width: int) -> Image:
    """Samples (H, W, 3) smooth noise at two scales, with objects in random colors over it."""
    coarse_grid = rng.integers(60, 190, (4, 5, 1)) + rng.integers(-30, 31, (4, 5, 3))
    fine_grid = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3))
    canvas, fine = (
        cv2.resize(grid.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        for grid in (coarse_grid, fine_grid)
    )
    outlines, colors = _sample_objects(rng, int(rng.integers(4, 12)), np.array([width, height]))
    fill(canvas, outlines, colors, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(canvas, 0.85, fine, 0.15, 0), np.uint8)


def _sample_objects(
    rng: np.random.Generator, count: int, size: NDArray[np.int64]
) -> tuple[DoubleArray, DoubleArray]:
    """Samples (O, 24, 2) outlines of poles, boards and balls, and their (O, 3) colors."""
    centers = rng.uniform(0, size, (count, 1, 2)) + rng.normal(0, 0.08, (count, 3, 2)) * size.min()
    radii = rng.uniform(0.01, 0.05, (count, 1)) * size.min() * np.ones(3)
    return convex_hulls(centers, radii), rng.uniform(30, 220, (count, 3))


def write_scenes(
    folder: Path,
    count: int,
    seed: int = 0,
    *,
    skeleton: Skeleton = COCO,
    **settings: Any,  # noqa: ANN401
) -> Path:
    """Writes scenes as a COCO dataset: `images/000000000001.png`, … and `annotations.json`.

    The annotations are written last and atomically: if the file exists, the dataset is complete.

    Args:
        folder: the folder, which is created if necessary; existing files are overwritten.
        count: number of scenes.
        seed: scene i, counted from 1, is `draw_scene((seed, i))`.
        skeleton: the keypoints to annotate.
        settings: other arguments of `draw_scene`.

    Returns:
        The path of `annotations.json`.

    Raises:
        InputError: the folder cannot be written to, or the skeleton has a keypoint that
            synthetic people do not have.
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
            height, width = scene.instance_map.shape
            images.append({"id": id_, "file_name": name, "height": height, "width": width})
            annotations += scene.annotations(id_, len(annotations) + 1)
        dataset = {
            "info": {"description": f"{count} synthetic scenes, seed {seed}"},
            "images": images,
            "annotations": annotations,
            "categories": [skeleton.to_category()],
        }
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(dataset), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: scenes cannot be written: {error.strerror}") from error
    return target
