"""Reads the lists of a COCO keypoint file; invalid entries become findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from higherhrnet.errors import InputError
from higherhrnet.io.datasets.coco_categories import PeopleCategories
from higherhrnet.io.datasets.coco_entries import (
    ASSUMED_SIDE,
    Entry,
    annotation_name,
    converted_fields,
    has_extent,
    labeled_points,
    read_image,
    read_person,
)
from higherhrnet.io.datasets.coco_keypoints import lacks_visibilities
from higherhrnet.io.datasets.image_names import with_file_name
from higherhrnet.io.findings import FindingCollector
from higherhrnet.io.json_values import describe, identifier

_MAX_CATEGORIES = 5
"""The number of categories whose annotations are reported separately if they are left out."""


def read_list(value: Any, name: str) -> list[Any]:  # noqa: ANN401
    """Returns a list unchanged; raises InputError for another value."""
    if not isinstance(value, list):
        found = "" if value is None else f", but {describe(value)}"
        raise InputError(f"{name}: missing, or not a list{found}")
    return value


def require_entry(entry: Any, index: int, name: str, key: str) -> None:  # noqa: ANN401
    """Raises InputError unless `entry` is an object with a number or string under `key`."""
    found = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(found, int | float | str) or isinstance(found, bool):
        raise InputError(
            f"{name}: entry {index} has no number or string as its {key}, but "
            f"{describe(found if isinstance(entry, dict) else entry)}"
        )


def read_images(
    entries: list[Any], invalid: FindingCollector, remarks: FindingCollector
) -> list[Entry]:
    """Reads the valid images, and adds the others to `invalid`, and conversions to `remarks`."""
    images = []
    for index, entry in enumerate(entries):
        try:
            require_entry(entry, index, "images", "id")
            try:
                images.append(read_image(with_file_name(entry)))
                _remark_conversions(entry, images[-1], "image", f"image {entry['id']}", remarks)
            except InputError as error:
                raise InputError(f"image {describe(entry['id'])}: {error}") from error
        except InputError as error:
            invalid.add("image has an invalid value", "images have invalid values", str(error))
    return images


def read_people(
    entries: list[Any],
    categories: PeopleCategories,
    num_keypoints: int,
    image_ids: set[int | str],
    invalid: FindingCollector,
    remarks: FindingCollector,
) -> list[Entry]:
    """Reads the annotations of people in the images.

    Args:
        entries: the annotations.
        categories: the categories of the file; annotations of other categories than people's are
            left out.
        num_keypoints: the number of keypoints of a person.
        image_ids: the IDs of the images; annotations of other images are left out.
        invalid: receives the annotations that are invalid.
        remarks: receives what is left out or assumed.
    """
    people, others = [], defaultdict[str, list[str]](list)
    for index, entry in enumerate(entries):
        try:
            require_entry(entry, index, "annotations", "image_id")
            known = entry.get("id") is not None
            name = annotation_name(entry) if known else f"annotations: entry {index}"
            if not _is_person(entry, name, categories, invalid, others):
                continue
            try:
                person = read_person(entry, num_keypoints)
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
        except InputError as error:
            invalid.add(
                "annotation has an invalid value", "annotations have invalid values", str(error)
            )
            continue
        if person["image_id"] not in image_ids:
            remarks.add(
                "annotation belongs to an image that is not listed",
                "annotations belong to images that are not listed",
                f"{name} of image {person['image_id']}",
            )
            continue
        _remark_conversions(entry, person, "annotation", name, remarks)
        _remark_assumptions(entry, person, name, remarks)
        people.append(person)
    _remark_other_categories(others, remarks)
    return people


def _is_person(
    entry: Entry,
    name: str,
    categories: PeopleCategories,
    invalid: FindingCollector,
    others: dict[str, list[str]],
) -> bool:
    """Returns whether the category of an annotation is one of people; reports others."""
    category = entry.get("category_id")
    if category is None:
        return True
    id_ = identifier(category, f"{name}: category_id")
    if id_ not in categories.names:
        invalid.add(
            "annotation has a category that is not listed",
            "annotations have a category that is not listed",
            f"{name}: category_id {id_} is not listed in categories ({categories.listing()})",
        )
    elif id_ not in categories.ids:
        others[categories.names[id_]].append(name)
    return id_ in categories.ids


def _remark_other_categories(others: Mapping[str, list[str]], remarks: FindingCollector) -> None:
    """Reports the annotations that were left out, by category; rare categories together."""
    by_count = sorted(others.items(), key=lambda item: -len(item[1]))
    for rank, (category, names) in enumerate(by_count):
        for name in names:
            if rank < _MAX_CATEGORIES:
                remarks.add(
                    f"annotation of the category {category} is left out",
                    f"annotations of the category {category} are left out",
                    name,
                    is_error=False,
                )
            else:
                remarks.add(
                    "annotation of another category is left out",
                    f"annotations of {len(others) - _MAX_CATEGORIES} other categories are left out",
                    f"{name} of {category}",
                    is_error=False,
                )


def _remark_conversions(
    entry: Entry, read: Entry, kind: str, name: str, remarks: FindingCollector
) -> None:
    """Reports which fields have another JSON type than in COCO's own files."""
    if fields := converted_fields(entry, read):
        remarks.add(
            f"{kind} has values of another JSON type or form than COCO's, which were converted",
            f"{kind}s have values of another JSON type or form than COCO's, which were converted",
            f"{name}: {', '.join(fields)}",
            is_error=False,
        )


def _remark_assumptions(entry: Entry, person: Entry, name: str, remarks: FindingCollector) -> None:
    """Reports what had to be assumed to fill in the fields of a person."""
    keypoints, box = entry.get("keypoints"), entry.get("bbox")
    if keypoints and lacks_visibilities(keypoints, len(person["keypoints"]) // 3):
        remarks.add(
            "person has keypoints without visibility, which count as visible unless they are at "
            "(0, 0)",
            "people have keypoints without visibility, which count as visible unless they are at "
            "(0, 0)",
            name,
            is_error=False,
        )
    if not box and person["num_keypoints"] and not has_extent(labeled_points(person)):
        side = f"{ASSUMED_SIDE}×{ASSUMED_SIDE} pixels"
        remarks.add(
            f"person has no box and only a single keypoint; a box of {side} is assumed",
            f"people have no box and only a single keypoint; a box of {side} is assumed",
            name,
            is_error=False,
        )
