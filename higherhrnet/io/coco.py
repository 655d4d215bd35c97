"""COCO keypoint files: annotations and results, checked and completed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from higherhrnet.errors import InputError
from higherhrnet.skeleton import Skeleton

Entry = dict[str, Any]
"""An image, annotation, category or result, as JSON has it."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """A COCO keypoint file, checked and completed."""

    path: Path
    skeleton: Skeleton
    category_id: int | str
    """The category of `people`; annotations of other categories are left out."""
    images: list[Entry]
    """As in the file."""
    people: list[Entry]
    """As in the file, with `keypoints`, `num_keypoints`, `bbox`, `area` and `iscrowd` in each."""

    @property
    def num_people(self) -> int:
        """The people that count: with labelled keypoints, and no crowd region."""
        return sum(1 for person in self.people if person["num_keypoints"] and not person["iscrowd"])

    @property
    def labeled_images(self) -> list[Entry]:
        """The images in which anyone's keypoints are labelled."""
        ids = {str(person["image_id"]) for person in self.people if person["num_keypoints"]}
        return [image for image in self.images if str(image["id"]) in ids]

    def subset(self, images: list[Entry]) -> Annotations:
        """These images and the people in them."""
        ids = {str(image["id"]) for image in images}
        people = [person for person in self.people if str(person["image_id"]) in ids]
        return replace(self, images=images, people=people)


def load_annotations(path: str | Path, skeleton: Skeleton | None = None) -> Annotations:
    """Read a COCO keypoint file.

    What it leaves out is filled in: a person without `keypoints` has none labelled, without
    `num_keypoints` those with visibility above 0, without `bbox` the box around these, without
    `area` the area of the box, and without `iscrowd` is one person.

    Args:
        path: the JSON file.
        skeleton: the skeleton, where the file's own category is not to decide it.

    Raises:
        InputError: the file is missing or of another form, or a person does not fit the skeleton.
    """
    path = Path(path)
    content = _read_json(path)
    if not isinstance(content, dict) or not content.get("images"):
        raise InputError(f"{path}: lists no images, so it is no COCO annotation file")
    try:
        images = _entries(content["images"], "images", "id")
        category = _person_category(_entries(content.get("categories"), "categories", "id"))
        skeleton = skeleton or Skeleton.from_category(category)
        people = [
            _completed(annotation, len(skeleton))
            for annotation in _entries(content.get("annotations"), "annotations", "image_id")
            if annotation.get("category_id", category["id"]) == category["id"]
        ]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    return Annotations(path, skeleton, category["id"], images, people)


def load_predictions(path: str | Path) -> list[Entry]:
    """Read COCO keypoint results, as `Poses.to_coco` gives them.

    Raises:
        InputError: the file is missing or of another form, or a result is not whole.
    """
    content = _read_json(Path(path))
    try:
        results = _entries(content, "predictions", "image_id")
        for number, result in enumerate(results):
            where = f"result {number} (image {result['image_id']})"
            _check_numbers(result.get("keypoints"), f"{where}: keypoints")
            _check_numbers([result.get("score")], f"{where}: score", 1)
            if result.get("bbox"):
                _check_numbers(result["bbox"], f"{where}: bbox", 4)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return results


def _read_json(path: Path) -> Any:  # noqa: ANN401
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error


def _entries(value: Any, what: str, key: str) -> list[Entry]:  # noqa: ANN401
    """`value`, if it is a list of objects that each have a number or string under `key`."""
    if not isinstance(value, list):
        raise InputError(f"{what}: missing, or not a list")
    for number, entry in enumerate(value):
        if not isinstance(entry, dict) or not isinstance(entry.get(key), int | float | str):
            raise InputError(f"{what}: entry {number} has no number or string as its {key}")
    return value


def _check_numbers(values: Any, what: str, count: int | None = None) -> None:  # noqa: ANN401
    """Raise InputError unless these are `count` finite numbers, or by default some triples."""
    try:
        array = np.asarray(values)
    except ValueError:  # lists of unequal lengths inside
        array = np.empty((0, 0))
    fits = array.size == count if count else array.size and array.size % 3 == 0
    if array.ndim != 1 or array.dtype.kind not in "iuf" or not fits or not np.isfinite(array).all():
        raise InputError(f"{what} must be {count or 'three for each keypoint,'} finite numbers")


def _person_category(categories: list[Entry]) -> Entry:
    """The category with keypoints; of several, or where none lists any, the one named person."""
    posed = [category for category in categories if category.get("keypoints")] or categories
    people = [category for category in posed if category.get("name") == "person"] or posed
    if len(people) != 1:
        raise InputError(f"categories: {len(people)} may be the people's; name one of them person")
    return people[0]


def _completed(annotation: Entry, keypoints: int) -> Entry:
    """A person with all that COCO's code reads."""
    where = f"annotation {annotation.get('id')}"
    person = {key: value for key, value in annotation.items() if value not in (None, [])}
    triples = person.setdefault("keypoints", [0] * 3 * keypoints)
    _check_numbers(triples, f"{where}: keypoints", 3 * keypoints)
    seen = [triples[i : i + 2] for i in range(0, 3 * keypoints, 3) if triples[i + 2] > 0]
    person.setdefault("num_keypoints", len(seen))
    if "bbox" not in person:
        corner, size = np.min(seen or [[0, 0]], 0), np.ptp(seen or [[0, 0]], 0)
        person["bbox"] = [*corner.tolist(), *size.tolist()]
    box = person["bbox"]
    _check_numbers(box, f"{where}: bbox", 4)
    _check_numbers([person.setdefault("area", box[2] * box[3])], f"{where}: area", 1)
    person["iscrowd"] = int(person.get("iscrowd", 0))
    return person
