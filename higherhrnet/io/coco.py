"""Reads COCO keypoint files: annotations and results."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from higherhrnet.errors import InputError, reading
from higherhrnet.io.image_names import with_file_name
from higherhrnet.skeleton import Skeleton

Entry = dict[str, Any]
"""An image, annotation, category or result, as it is in a COCO file."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """The images and people of a COCO keypoint file; missing fields of people are filled in."""

    path: Path
    skeleton: Skeleton
    category_id: int | str
    """The category of the people; annotations of other categories are left out."""
    images: list[Entry]
    """The images, as in the file; `file_name` is that of `coco_url` if it is missing."""
    people: list[Entry]
    """The annotations of the people, as in the file, each with `keypoints`, `num_keypoints`,
    `bbox`, `area` and `iscrowd`."""

    @property
    def file_names(self) -> list[str]:
        """The file names of the images, as in the file, of those that have one."""
        return [str(image["file_name"]) for image in self.images if image.get("file_name")]

    @property
    def num_people(self) -> int:
        """The number of people with labeled keypoints, without crowd regions."""
        return sum(1 for person in self.people if person["num_keypoints"] and not person["iscrowd"])

    @property
    def labeled_images(self) -> list[Entry]:
        """The images in which at least one keypoint is labeled."""
        ids = {str(person["image_id"]) for person in self.people if person["num_keypoints"]}
        return [image for image in self.images if str(image["id"]) in ids]

    def subset(self, images: list[Entry]) -> Annotations:
        """Returns the annotations of these images only."""
        ids = {str(image["id"]) for image in images}
        people = [person for person in self.people if str(person["image_id"]) in ids]
        return replace(self, images=images, people=people)


def load_annotations(path: str | Path, skeleton: Skeleton | None = None) -> Annotations:
    """Reads a COCO keypoint annotation file.

    Missing fields of a person are filled in: without `keypoints`, none is labeled;
    `num_keypoints` is the number of keypoints with visibility above 0; `bbox` is the box around
    these; `area` is the area of `bbox`; `iscrowd` is 0.

    Args:
        path: the JSON file.
        skeleton: the skeleton; default: the one that the file's category describes.

    Raises:
        InputError: the file cannot be read, is not a COCO annotation file, or a person does not
            match the skeleton.
    """
    path = Path(path)
    content = _read_json(path)
    if not isinstance(content, dict) or not content.get("images"):
        raise InputError(f"{path}: not a COCO annotation file, since it lists no images")
    try:
        images = list(map(with_file_name, _entries(content["images"], "images", "id")))
        category = _person_category(_entries(content.get("categories"), "categories", "id"))
        skeleton = skeleton or Skeleton.from_category(category)
        people = [
            _complete_person(annotation, len(skeleton))
            for annotation in _entries(content.get("annotations"), "annotations", "image_id")
            if annotation.get("category_id", category["id"]) == category["id"]
        ]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: {error}") from error
    return Annotations(path, skeleton, category["id"], images, people)


def load_predictions(path: str | Path) -> list[Entry]:
    """Reads a file of COCO keypoint results, such as `Poses.to_coco` returns.

    Raises:
        InputError: the file cannot be read, or `check_results` rejects its content.
    """
    content = _read_json(Path(path))
    try:
        return check_results(content, "predictions")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_results(results: Any, name: str) -> list[Entry]:  # noqa: ANN401 (JSON)
    """Returns a list of COCO keypoint results unchanged if each one is complete.

    Args:
        results: the value to check.
        name: the name of the value in error messages.

    Raises:
        InputError: the value is not a list, or a result has no image, keypoints or score.
    """
    entries = _entries(results, name, "image_id")
    for number, result in enumerate(entries):
        prefix = f"result {number} (image {result['image_id']})"
        _check_numbers(result.get("keypoints"), f"{prefix}: keypoints")
        _check_numbers([result.get("score")], f"{prefix}: score", 1)
        if result.get("bbox"):
            _check_numbers(result["bbox"], f"{prefix}: bbox", 4)
    return entries


def _read_json(path: Path) -> Any:  # noqa: ANN401
    with reading(path):
        data = path.read_bytes()
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file: {error}") from error


def _entries(value: Any, name: str, key: str) -> list[Entry]:  # noqa: ANN401
    """Returns `value` if it is a list of objects that each have a number or string under `key`."""
    if not isinstance(value, list):
        raise InputError(f"{name}: missing, or not a list")
    for number, entry in enumerate(value):
        if not isinstance(entry, dict) or not isinstance(entry.get(key), int | float | str):
            raise InputError(f"{name}: entry {number} has no number or string as its {key}")
    return value


def _check_numbers(values: Any, name: str, count: int | None = None) -> None:  # noqa: ANN401
    """Raises InputError unless `values` is a list of `count` finite numbers.

    By default, any multiple of three except zero is accepted.
    """
    try:
        array = np.asarray(values)
    except ValueError:  # nested lists of unequal lengths
        array = np.empty((0, 0))
    right_size = array.size == count if count else array.size and array.size % 3 == 0
    is_list_of_numbers = array.ndim == 1 and array.dtype.kind in "iuf"
    if not (right_size and is_list_of_numbers and np.isfinite(array).all()):
        raise InputError(f"{name} must be {count or 'three per keypoint,'} finite numbers")


def _person_category(categories: list[Entry]) -> Entry:
    """Returns the category of people: the only one with keypoints, or the one named `person`."""
    candidates = [category for category in categories if category.get("keypoints")] or categories
    named = [category for category in candidates if category.get("name") == "person"]
    people = named or candidates
    if len(people) != 1:
        raise InputError(
            f"categories: found {len(people)} categories of people instead of one; if there are "
            "several, give one of them the name person"
        )
    return people[0]


def _complete_person(annotation: Entry, num_keypoints: int) -> Entry:
    """Fills in missing fields of a person's annotation and checks its numbers."""
    name = f"annotation {annotation.get('id')}"
    person = {key: value for key, value in annotation.items() if value not in (None, [])}
    keypoints = person.setdefault("keypoints", [0] * 3 * num_keypoints)
    _check_numbers(keypoints, f"{name}: keypoints", 3 * num_keypoints)
    labeled = _labeled_points(keypoints)
    _check_numbers([person.setdefault("num_keypoints", len(labeled))], f"{name}: num_keypoints", 1)
    if "bbox" not in person:
        person["bbox"] = _bounding_box(labeled)
    box = person["bbox"]
    _check_numbers(box, f"{name}: bbox", 4)
    _check_numbers([person.setdefault("area", box[2] * box[3])], f"{name}: area", 1)
    person["iscrowd"] = int(person.get("iscrowd", 0))
    return person


def _labeled_points(keypoints: list[float]) -> list[list[float]]:
    """Returns x and y of the keypoints whose visibility is above 0."""
    return [keypoints[i : i + 2] for i in range(0, len(keypoints), 3) if keypoints[i + 2] > 0]


def _bounding_box(points: list[list[float]]) -> list[float]:
    """Returns x, y, width and height of the box around points; zeros if there are none."""
    if not points:
        return [0, 0, 0, 0]
    corner, size = np.min(points, 0), np.ptp(points, 0)
    return [*corner.tolist(), *size.tolist()]
