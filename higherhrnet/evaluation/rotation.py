"""Detects results on images that were rotated by EXIF, unlike the annotations.

`predict` rotates images as their EXIF orientation requires, and annotations often refer to the
stored pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from higherhrnet.errors import InputError
from higherhrnet.evaluation.pairing import pair_results
from higherhrnet.io.datasets.coco import Annotations, Entry
from higherhrnet.io.datasets.image_folder import find_images
from higherhrnet.io.datasets.image_store import ImageStore, annotated_shape
from higherhrnet.messages import counted

_TOLERANCE = 1
"""The number of pixels by which keypoints may be outside of an image."""
_MAX_FILES = 20
"""The number of image files whose orientation is read."""


def require_equal_rotation(
    annotations: Annotations, results: Sequence[Mapping[str, Any]], images: Path | None = None
) -> None:
    """Raises InputError if results refer to rotated images and annotations to stored ones.

    This is detected by size: results exceed the annotated size of an image, but not the size of the
    image turned by 90 degrees, and the file has an EXIF orientation that turns it. Where the images
    are not found, a note is printed.

    Args:
        annotations: the ground truth.
        results: COCO keypoint results, as `load_predictions` returns them.
        images: the folder or .zip file of the images (default: searched for next to the annotation
            file).

    Raises:
        InputError: results and annotations refer to different pixels, or do not match each other.
    """
    paired = pair_results(annotations, results)
    groups = zip(paired.images, paired.results_by_image, strict=True)
    turned = [entry for entry, people in groups if people and _is_turned(entry, people)]
    if not turned:
        return
    names = annotations.file_names
    if images is None:
        with suppress(InputError):
            images = find_images(annotations.path, names)
    number = counted(len(turned), "image")
    subject = f"the results of at least {number}, such as {_name(turned[0])}, "
    if images is None:
        print(
            f"{annotations.path}: {subject}exceed the annotated size, but fit into the image "
            "turned by 90 degrees; with --images, the EXIF orientation of the images is checked",
            file=sys.stderr,
        )
        return
    store = ImageStore(images, names)
    for entry in turned[:_MAX_FILES]:
        if pixels := _pixels(entry, store):
            raise InputError(
                f"{annotations.path}: {subject}refer to {pixels[0]}, but the annotations refer to "
                f"{pixels[1]}; evaluate the model with --model, which uses the pixels of the "
                "annotations, or remove the orientation from the files"
            )


def _is_turned(entry: Entry, results: Sequence[Entry]) -> bool:
    """Returns whether results exceed the annotated size, but not the size turned by 90 degrees."""
    if (shape := annotated_shape(entry)) is None:
        return False
    triples = np.array([result["keypoints"] for result in results], np.float64).reshape(-1, 3)
    found = triples[triples[:, 2] > 0, :2]
    extent, size = found.max(0, initial=0) - _TOLERANCE, np.array(shape[::-1])
    return bool((extent > size).any() and (extent <= size[::-1]).all())


def _pixels(entry: Entry, store: ImageStore) -> tuple[str, str] | None:
    """Describes what results and annotations refer to; None if the file is not rotated."""
    try:
        rotated, stored = store.read_rotated(_name(entry)), store.read(_name(entry))
    except InputError:
        return None
    if rotated is None or rotated.shape == stored.shape:
        return None
    pixels = "the image rotated by its EXIF orientation", "the stored pixels"
    return pixels if annotated_shape(entry) == stored.shape[:2] else pixels[::-1]


def _name(entry: Entry) -> str:
    return str(entry.get("file_name", entry["id"]))
