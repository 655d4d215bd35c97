"""Reads the images, people and results of COCO keypoint files.

Values may have another JSON type than in COCO's own files, and `null` means that a value is absent.
The functions return entries in the form of COCO's own files, and raise InputError for values whose
meaning is not clear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

from higherhrnet.errors import InputError
from higherhrnet.io.datasets.coco_keypoints import (
    is_plain,
    read_person_keypoints,
    read_result_keypoints,
)
from higherhrnet.io.json_values import describe, flag, identifier, number, text, whole_number
from higherhrnet.messages import one_line

Entry = dict[str, Any]
"""An image, annotation, category or result of a COCO file."""

ASSUMED_SIDE = 32
"""Sides in pixels of the box of a person whose size is unknown, since there is neither a box nor a
second keypoint: the limit between COCO's small and medium people."""
MIN_ASPECT = 0.1
"""The smallest ratio of the sides of a box that is made from keypoints. Without it, the area of a
person whose keypoints are on a line would be 0."""


def read_image(entry: Mapping[str, Any]) -> Entry:
    """Reads an image; a width or height of 0 is absent."""
    image = {key: value for key, value in entry.items() if value is not None}
    image["id"] = identifier(image.get("id"), "id")
    if "file_name" in image:
        image["file_name"] = text(image["file_name"], "file_name")
    for key in ("width", "height"):
        if key in image:
            image[key] = whole_number(image[key], key)
            if not image[key]:
                del image[key]
    if "crowdIndex" in image:
        image["crowdIndex"] = number(image["crowdIndex"], "crowdIndex")
    return image


def read_person(entry: Mapping[str, Any], num_keypoints: int) -> Entry:
    """Reads an annotated person, and fills in what is missing.

    Without `keypoints`, none is labeled; `num_keypoints` is the number of keypoints with visibility
    above 0; `bbox` is `enclosing_box`; `area` is the area of `bbox`; `iscrowd` is 0.
    """
    person = _without_absent(entry)
    for key in ("image_id", "category_id"):
        if key in person:
            person[key] = identifier(person[key], key)
    keypoints = person.get("keypoints")
    if keypoints is None:
        person["keypoints"] = [0] * 3 * num_keypoints
    else:
        person["keypoints"] = read_person_keypoints(keypoints, "keypoints", num_keypoints)
    if "num_keypoints" in person:
        person["num_keypoints"] = whole_number(person["num_keypoints"], "num_keypoints")
    else:
        person["num_keypoints"] = len(labeled_points(person))
    person["iscrowd"] = flag(person.get("iscrowd", 0), "iscrowd")
    if "bbox" in person:
        person["bbox"] = _read_box(person["bbox"])
    else:
        person["bbox"] = enclosing_box(labeled_points(person))
    if "area" in person:
        person["area"] = number(person["area"], "area")
    else:
        person["area"] = _fill_in_area(person)
    return person


def read_result(entry: Mapping[str, Any]) -> Entry:
    """Reads a result; `null` and an empty `bbox` are absent."""
    result = _without_absent(entry)
    result["keypoints"] = read_result_keypoints(result.get("keypoints"), "keypoints")
    result["score"] = number(result.get("score"), "score")
    result["image_id"] = identifier(result.get("image_id"), "image_id")
    if "category_id" in result:
        result["category_id"] = identifier(result["category_id"], "category_id")
    if "bbox" in result:
        result["bbox"] = _read_box(result["bbox"])
    return result


def converted_fields(entry: Mapping[str, Any], read: Entry) -> list[str]:
    """Returns the fields whose values had another type or form, which was converted.

    Args:
        entry: an image or a person as in the file.
        read: the same as `read_image` or `read_person` returns it.
    """
    if all(map(is_, map(entry.get, read), read.values())):
        return []  # as usual; the general case is slow
    return [
        key
        for key, value in read.items()
        if (original := entry.get(key)) is not None
        and original is not value
        and not isinstance(original, bool)
        and (type(original) is not type(value) or not _has_only_numbers(original))
    ]


def labeled_points(person: Entry) -> list[list[float]]:
    """Returns x and y of the keypoints of a person whose visibility is above 0."""
    values = person["keypoints"]
    return [values[i : i + 2] for i in range(0, len(values), 3) if values[i + 2] > 0]


def enclosing_box(points: Sequence[Sequence[float]]) -> list[float]:
    """Returns x, y, width and height of the box around points; zeros if there are none.

    A side that is shorter than a tenth of the other one is enlarged to that. The sides are 32
    pixels if all points are at one position.
    """
    if not points:
        return [0, 0, 0, 0]
    low, high = list(map(min, *points, points[0])), list(map(max, *points, points[0]))
    sides = [high[0] - low[0], high[1] - low[1]]
    shortest = MIN_ASPECT * max(sides) if has_extent(points) else ASSUMED_SIDE
    enlarged = [max(side, shortest) for side in sides]
    corner = [c - (new - side) / 2 for c, new, side in zip(low, enlarged, sides, strict=True)]
    return [*corner, *enlarged]


def has_extent(points: Sequence[Sequence[float]]) -> bool:
    """Returns whether points are at least one pixel apart, so that they show a person's size."""
    return any(max(values) - min(values) >= 1 for values in zip(*points, strict=True))


def has_negligible_area(person: Entry) -> bool:
    """Returns whether the area of a person contradicts the keypoints: hardly a result can match.

    That is an area of at most one pixel, or below 1 % of that of the box around the keypoints.
    """
    _, _, width, height = enclosing_box(labeled_points(person))
    return bool(person["area"] <= max(1.0, 0.01 * width * height))


def _has_only_numbers(value: object) -> bool:
    return not isinstance(value, list) or all(type(item) in (int, float) for item in value)


def _without_absent(entry: Mapping[str, Any]) -> Entry:
    """Returns the fields of an entry that are neither `null` nor an empty list."""
    return {k: v for k, v in entry.items() if v is not None and (v or type(v) is not list)}


def _read_box(value: Any) -> list[float]:  # noqa: ANN401
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise InputError(
            f"bbox must be 4 finite numbers (x, y, width and height), not {describe(value)}"
        )
    if type(value) is list and is_plain(value):
        return value
    return [number(item, "bbox must be 4 finite numbers; each of them") for item in value]


def _fill_in_area(person: Entry) -> float:
    """Returns the area of the box, or of that around the keypoints if the former is not above 0."""
    _, _, width, height = person["bbox"]
    if width > 0 and height > 0:
        return float(width * height)
    _, _, width, height = enclosing_box(labeled_points(person))
    return float(width * height)


def image_name(image: Mapping[str, Any]) -> str:
    """Returns the file name of an image, or its ID, for messages."""
    return one_line(str(image.get("file_name") or f"image {image['id']}"))


def annotation_name(annotation: Mapping[str, Any]) -> str:
    """Returns the ID of an annotation, for messages."""
    return one_line(f"annotation {annotation.get('id', 'without ID')}")
