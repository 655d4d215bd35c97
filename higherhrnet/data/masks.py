"""Segmentations as COCO has them → run lengths in bytes, and masks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from faster_coco_eval import mask as coco
from numpy.typing import NDArray

from higherhrnet.errors import InputError
from higherhrnet.io.coco import Entry


def encode(person: Entry, height: int, width: int) -> bytes:
    """The pixels of an annotation as COCO's compressed run lengths.

    They are its segmentation's (polygons, or run lengths in either form), or its box's where there
    is none.

    Raises:
        InputError: the segmentation makes no sense for a picture of that size.
    """
    where = f"annotation {person.get('id')}: segmentation"
    segmentation = person.get("segmentation")
    try:
        if not isinstance(segmentation, dict):
            polygons = _polygons(segmentation) or [_corners(person["bbox"])]
            parts = coco.frPyObjects(polygons, height, width)
            return union([bytes(part["counts"]) for part in parts], height, width)
        packed = isinstance(segmentation["counts"], str | bytes)
        lengths = segmentation if packed else coco.frPyObjects(segmentation, height, width)
        counts = lengths["counts"]
        region = counts.encode() if isinstance(counts, str) else bytes(counts)
        runs = _runs(region)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{where}: neither polygons nor run lengths: {error}") from error
    if runs.min() < 0 or runs.sum() != height * width:
        raise InputError(
            f"{where}: not of its picture's size, {width}×{height}; mend it, or mask nothing "
            "(--no-mask)"
        )
    return region


def union(regions: Sequence[bytes], height: int, width: int) -> bytes:
    """The run lengths of all regions together; none, no bytes."""
    if len(regions) < 2:
        return b"".join(regions)
    merged = coco.merge([{"size": [height, width], "counts": region} for region in regions])
    return bytes(merged["counts"])


def decode(region: bytes, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) True in the region."""
    runs = _runs(region)
    columns = np.repeat(np.arange(len(runs), dtype=np.uint8) & 1, runs).reshape(width, height)
    return cv2.transpose(columns).view(np.bool_)


def _runs(region: bytes) -> NDArray[np.int64]:
    """How many pixels, down the columns, are outside, then inside, then outside, and so on.

    COCO writes each run in groups of five bits, the lowest first, with a sixth that is set if more
    follow; from the fourth on, as the difference to the one before the last. COCO's own decoder
    takes longer than all the rest of reading a mask.
    """
    digits = np.frombuffer(region, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    shifts = 5 * (np.arange(len(digits)) - np.repeat(starts, ends - starts + 1))
    runs = np.add.reduceat((digits & 31) << shifts, starts)
    runs -= np.where(digits[ends] & 16, 32 << shifts[ends], 0)  # the highest bit is the sign
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs


def is_outline(person: Entry) -> bool:
    """Whether its segmentation is a true outline, not absent or just a box."""
    segmentation = person.get("segmentation")
    if isinstance(segmentation, dict):
        return True
    return any(len(polygon) > 8 for polygon in _polygons(segmentation))


def _polygons(segmentation: object) -> list[list[float]]:
    """Those of at least three corners."""
    listed = segmentation if isinstance(segmentation, list) else []
    return [polygon for polygon in listed if isinstance(polygon, list) and len(polygon) >= 6]


def _corners(box: Sequence[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]
