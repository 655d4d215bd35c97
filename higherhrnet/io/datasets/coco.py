"""Reads COCO keypoint files: annotations and results."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from higherhrnet.errors import InputError, reading
from higherhrnet.io.datasets.coco_categories import read_categories
from higherhrnet.io.datasets.coco_entries import Entry, read_result
from higherhrnet.io.datasets.coco_lists import read_images, read_list, read_people, require_entry
from higherhrnet.io.findings import Finding, FindingCollector
from higherhrnet.io.json_values import describe
from higherhrnet.io.skeleton_files import category_skeleton
from higherhrnet.messages import counted
from higherhrnet.poses.skeleton import Skeleton

__all__ = [
    "Annotations",
    "Entry",
    "check_results",
    "load_annotations",
    "load_predictions",
    "read_annotations",
]


@dataclass(frozen=True, eq=False)
class Annotations:
    """The images and people of a COCO keypoint file; missing fields of people are filled in."""

    path: Path
    skeleton: Skeleton
    category_id: int | str
    """The main category of people, which results get."""
    images: list[Entry]
    """The images, with `id`, and with `file_name`, `width` and `height` unless they are unknown;
    a missing `file_name` is that of `coco_url`."""
    people: list[Entry]
    """The annotations of the people in `images`, each with `keypoints`, `num_keypoints`, `bbox`,
    `area` and `iscrowd`."""
    category_ids: frozenset[int | str] = frozenset()
    """All categories of people: those with the same keypoints as the main category."""
    findings: list[Finding] = field(default_factory=list)
    """What was left out, merged, converted or assumed."""

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
        ids = {person["image_id"] for person in self.people if person["num_keypoints"]}
        return [image for image in self.images if image["id"] in ids]

    def subset(self, images: list[Entry]) -> Annotations:
        """Returns the annotations of these images only."""
        ids = {image["id"] for image in images}
        people = [person for person in self.people if person["image_id"] in ids]
        return replace(self, images=images, people=people)

    def images_by_id(self) -> dict[int | str, Entry]:
        """Returns the images by their IDs; an image that is listed twice is contained once.

        Raises:
            InputError: two images with different files have the same ID.
        """
        by_id: dict[int | str, Entry] = {}
        for image in self.images:
            first = by_id.setdefault(image["id"], image)
            names = [entry.get("file_name") for entry in (first, image)]
            if first is not image and (names[0] != names[1] or None in names):
                raise InputError(
                    f"{self.path}: two images have the ID {image['id']}, {names[0]} and "
                    f"{names[1]}; give each image its own ID (higherhrnet check-data lists all "
                    "such IDs)"
                )
        return by_id

    def require_people(self) -> None:
        """Raises InputError if there is no person to evaluate, with the reasons."""
        if self.num_people:
            return
        crowds = sum(person["iscrowd"] for person in self.people)
        counts = (
            f"{counted(len(self.people), 'annotation')} of people, of which "
            f"{counted(crowds, 'is a crowd', 'are crowds')} and "
            f"{counted(len(self.people) - crowds, 'has', 'have')} no labeled keypoints "
            "(num_keypoints is 0)"
        )
        reasons = "; ".join([counts, *(finding.text() for finding in self.findings)])
        raise InputError(f"{self.path}: contains no person with labeled keypoints: {reasons}")


def load_annotations(path: str | Path, skeleton: Skeleton | None = None) -> Annotations:
    """Reads a COCO keypoint annotation file.

    Values may have another JSON type than in COCO's own files: 1, "1" and 1.0 are the same ID,
    numbers may be strings, flags may be words, and `null` means that a value is absent. All
    categories with the keypoints of the main one are people; the main one is named `person` or is
    the first with keypoints. Annotations of other categories are left out; `findings` of the result
    contains their number.

    Missing fields of a person are filled in: without `keypoints`, none is labeled;
    `num_keypoints` is the number of keypoints with visibility above 0; `bbox` is the box around
    these; `area` is the area of `bbox`; `iscrowd` is 0.

    Args:
        path: the JSON file.
        skeleton: the skeleton; default: the one that the file's category describes.

    Raises:
        InputError: the file cannot be read, is not a COCO annotation file, or an image or an
            annotation is invalid.
    """
    annotations, invalid = read_annotations(path, skeleton)
    if invalid:
        count = sum(len(finding.cases) for finding in invalid) - 1
        others = counted(count, "more invalid entry", "more invalid entries")
        more = f"; higherhrnet check-data lists it and {others}" if count else ""
        raise InputError(f"{path}: {invalid[0].cases[0]}{more}")
    return annotations


def read_annotations(
    path: str | Path, skeleton: Skeleton | None = None
) -> tuple[Annotations, list[Finding]]:
    """Reads a COCO keypoint annotation file without its invalid images and annotations.

    The arguments are those of `load_annotations`.

    Returns:
        The valid images and annotations, and the invalid ones as findings.

    Raises:
        InputError: the file cannot be read, or its images, annotations or categories are not lists
            or do not describe people.
    """
    path = Path(path)
    content = _read_json(path)
    if not isinstance(content, dict) or not content.get("images"):
        raise InputError(f"{path}: not a COCO annotation file, since it lists no images")
    try:
        categories = read_categories(read_list(content.get("categories"), "categories"))
        skeleton = skeleton or category_skeleton(categories.main)
        invalid, remarks = FindingCollector(), FindingCollector()
        for name in categories.merged:
            remarks.add(
                "category has the keypoints of the main category and counts as people, too",
                "categories have the keypoints of the main category and count as people, too",
                name,
                is_error=False,
            )
        images = read_images(read_list(content["images"], "images"), invalid, remarks)
        people = read_people(
            read_list(content.get("annotations"), "annotations"),
            categories, len(skeleton), {image["id"] for image in images}, invalid, remarks,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    main = categories.main["id"]
    findings = remarks.findings()
    annotations = Annotations(path, skeleton, main, images, people, categories.ids, findings)
    return annotations, invalid.findings()


def load_predictions(path: str | Path) -> list[Entry]:
    """Reads a file of COCO keypoint results, such as `Poses.to_coco` returns.

    Raises:
        InputError: the file cannot be read, or `check_results` rejects its content.
    """
    content = _read_json(Path(path))
    if not isinstance(content, list):
        is_truth = isinstance(content, dict) and "annotations" in content
        hint = "; it is an annotation file" if is_truth else ""
        raise InputError(f"{path}: not a list of COCO results, but {describe(content)}{hint}")
    try:
        return check_results(content, "predictions")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_results(results: Any, name: str) -> list[Entry]:  # noqa: ANN401 (JSON)
    """Reads a list of COCO keypoint results.

    Args:
        results: the JSON value.
        name: the name of the value in error messages.

    Returns:
        The results, with numbers and IDs as in COCO's own files.

    Raises:
        InputError: the value is not a list, or a result has no image, keypoints or score.
    """
    entries = []
    for index, result in enumerate(read_list(results, name)):
        require_entry(result, index, name, "image_id")
        try:
            entries.append(read_result(result))
        except InputError as error:
            image = describe(result["image_id"]).strip('"')
            raise InputError(f"result {index} (image {image}): {error}") from error
    return entries


def _read_json(path: Path) -> Any:  # noqa: ANN401
    with reading(path):
        data = path.read_bytes()
    try:
        return json.loads(data)
    except RecursionError as error:
        raise InputError(
            f"{path}: not a JSON file that can be read: its brackets are nested too deeply"
        ) from error
    except ValueError as error:
        hint = "; JSON Lines, with a value in each line, are not read: write one list of all values"
        is_lines = str(error).startswith("Extra data: line 2")
        raise InputError(f"{path}: not a JSON file: {error}{hint if is_lines else ''}") from error
