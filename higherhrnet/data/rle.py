"""Masks as COCO's compressed run-length encoding (RLE): encodes segmentations, merges, decodes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from faster_coco_eval import mask as coco
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray
from higherhrnet.errors import InputError
from higherhrnet.io.datasets.coco import Entry


def encode_annotation(annotation: Entry, height: int, width: int) -> bytes:
    """Encodes the mask of an annotation as compressed RLE.

    The mask covers its segmentation (polygons, or run lengths in either form), or its box if it has
    no segmentation.

    Args:
        annotation: a COCO annotation.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Raises:
        InputError: the segmentation is invalid, or is not of the size of the image.
    """
    name = f"annotation {annotation.get('id')}: segmentation"
    segmentation = annotation.get("segmentation")
    try:
        if not isinstance(segmentation, dict):
            polygons = _polygons(segmentation) or [_corners(annotation["bbox"])]
            masks = coco.frPyObjects(polygons, height, width)
            return merge_masks([bytes(mask["counts"]) for mask in masks], height, width)
        compressed = isinstance(segmentation["counts"], str | bytes)
        mask = segmentation if compressed else coco.frPyObjects(segmentation, height, width)
        counts = mask["counts"]
        encoded = counts.encode() if isinstance(counts, str) else bytes(counts)
        runs = _run_lengths(encoded)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{name}: neither polygons nor run lengths: {error}") from error
    if runs.min() < 0 or runs.sum() != height * width:
        raise InputError(
            f"{name}: does not have the size of its image, {width}×{height}; correct it, or train "
            "without masks (--no-mask)"
        )
    return encoded


def merge_masks(masks: Sequence[bytes], height: int, width: int) -> bytes:
    """Merges encoded masks into their union; returns empty bytes if there are none."""
    if len(masks) < 2:
        return b"".join(masks)
    merged = coco.merge([{"size": [height, width], "counts": mask} for mask in masks])
    return bytes(merged["counts"])


def decode_mask(mask: bytes, height: int, width: int) -> BoolArray:
    """Decodes a mask to (H, W) pixels."""
    runs = _run_lengths(mask)
    columns = np.repeat(np.arange(len(runs), dtype=np.uint8) & 1, runs).reshape(width, height)
    return cv2.transpose(columns).view(np.bool_)


def _run_lengths(mask: bytes) -> NDArray[np.int64]:
    """Decodes the numbers of pixels that are alternately outside and inside a mask, by columns.

    COCO writes each number in groups of five bits, the lowest first; a sixth bit is set if more
    groups follow. From the fourth number on, it writes the difference from the number two places
    before. This decoder is vectorized, because the library's would take most of the time of reading
    a mask.
    """
    digits = np.frombuffer(mask, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    shifts = 5 * (np.arange(len(digits)) - np.repeat(starts, ends - starts + 1))
    runs = np.add.reduceat((digits & 31) << shifts, starts)
    runs -= np.where(digits[ends] & 16, 32 << shifts[ends], 0)  # the highest bit is the sign
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs


def has_outline(annotation: Entry) -> bool:
    """Returns whether the segmentation of an annotation is more than a box."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return True
    return any(len(polygon) > 8 for polygon in _polygons(segmentation))


def _polygons(segmentation: object) -> list[list[float]]:
    """Returns the polygons of a segmentation with at least three corners."""
    polygons = segmentation if isinstance(segmentation, list) else []
    return [polygon for polygon in polygons if isinstance(polygon, list) and len(polygon) >= 6]


def _corners(box: Sequence[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]
