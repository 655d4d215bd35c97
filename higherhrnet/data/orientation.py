"""Finds images with an EXIF orientation, and the pixels that are used for each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.io.datasets.coco import Entry
from higherhrnet.io.datasets.image_store import ImageStore, annotated_shape

ROTATED = "rotated, as the annotated size requires"
STORED = "not rotated, as the annotated size requires"
UNDECIDED = "not rotated, although the size does not show whether it was rotated for annotation"
"""The three cases of an image with an EXIF orientation."""


def find_oriented_images(entries: Sequence[Entry], images: ImageStore) -> dict[str, list[str]]:
    """Finds the images with an EXIF orientation that changes them.

    Args:
        entries: the image entries of a COCO file.
        images: the images; those that cannot be read are left out.

    Returns:
        For each case (`ROTATED`, `STORED` or `UNDECIDED`) the file names of its images.
    """
    named = [entry for entry in entries if entry.get("file_name")]
    cases: dict[str, list[str]] = defaultdict(list)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for entry, case in zip(named, pool.map(lambda e: _case(e, images), named), strict=True):
            if case:
                cases[case].append(str(entry["file_name"]))
    return dict(cases)


def _case(entry: Entry, images: ImageStore) -> str | None:
    """Returns the case of an image; None if it has no orientation or another size."""
    name, shape = str(entry["file_name"]), annotated_shape(entry)
    try:
        if (rotated := images.read_rotated(name)) is None:
            return None
        stored = images.read(name)
    except InputError:
        return None
    shapes = rotated.shape[:2], stored.shape[:2]
    if shape is None or shapes[0] == shapes[1]:
        return UNDECIDED
    return {shapes[0]: ROTATED, shapes[1]: STORED}.get(shape)
