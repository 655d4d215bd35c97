"""The images with the highest total error, with ground truth and results drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.evaluation.error_analysis import ErrorCounts, top_results
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.datasets.coco import Entry
from higherhrnet.io.datasets.image_store import ImageStore, annotated_shape
from higherhrnet.io.images import write_image
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.visualization.poses import draw

NUM_IMAGES = 20
LONG_SIDE = 800
"""Pixels of a drawn image's longer side; small images are enlarged so that lines are thin."""


@dataclass(frozen=True)
class WorstImage:
    """One of the images with the highest total error."""

    caption: str
    """The image's name and errors, or why it could not be read."""
    files: list[tuple[str, str]]
    """The path, relative to the report, and the description of each drawing."""


def draw_worst_images(
    folder: Path, paired: PairedResults, errors: Sequence[ErrorCounts], images: Path | None
) -> list[WorstImage]:
    """Draws the images with the highest total error into the folder `worst` of a report.

    Args:
        folder: the folder of the report.
        paired: the ground truth and the results.
        errors: the errors of each image of `paired.images`.
        images: the folder or .zip file of the images; None to draw nothing.
    """
    store = ImageStore(images, paired.annotations.file_names) if images else None
    people, results = paired.people_by_image, paired.results_by_image
    totals = np.array([image.total_error for image in errors])
    order = np.argsort(-totals, kind="stable")[:NUM_IMAGES]
    worst = []
    for rank, index in enumerate(order[totals[order] > 0], 1):
        entry, skeleton = paired.images[index], paired.annotations.skeleton
        name = str(entry.get("file_name", entry["id"]))
        caption, files = f"{name}: {_describe(errors[index])}", []
        try:
            image = store.read(name, annotated_shape(entry)) if store else None
        except InputError as error:
            image, caption = None, f"{caption} ({error})"
        if image is not None:
            for title, entries in (
                ("ground truth", people[index]),
                ("results", top_results(results[index])),
            ):
                path = f"worst/{rank:02}_{title.replace(' ', '_')}.jpg"
                write_image(folder / path, _draw(image, entries, skeleton))
                files.append((path, f"{name}, {title}"))
        worst.append(WorstImage(caption, files))
    return worst


def _describe(errors: ErrorCounts) -> str:
    return "; ".join([f"total error {errors.total_error:.1f}", *_list_errors(errors)])


def _list_errors(errors: ErrorCounts) -> Iterator[str]:
    for name, counts, excluded in (
        ("people", errors.people, {"matched"}),
        ("results", errors.results, {"matched", "ignored", "merged"}),  # merged: see people
        ("keypoints", errors.keypoints, {"good"}),
    ):
        listed = [
            f"{n} {category}" for category, n in counts.most_common() if category not in excluded
        ]
        if listed:
            yield f"{name}: {', '.join(listed)}"


def _draw(image: Image, entries: Sequence[Entry], skeleton: Skeleton) -> Image:
    poses = Poses.from_coco(entries, skeleton)
    height, width = image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
    # In annotations the center of the first pixel is at 0, in a resize at 0.5.
    keypoints = (poses.keypoints + 0.5) * scale - 0.5
    return draw(resized, replace(poses, keypoints=keypoints.astype(np.float32)))
