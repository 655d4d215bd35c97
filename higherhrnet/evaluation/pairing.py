"""Annotations + results → people and results side by side, whatever their images are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from higherhrnet.errors import InputError
from higherhrnet.io.coco import Annotations, Entry
from higherhrnet.skeleton import CROWDPOSE

CROWDPOSE_AREA = 0.53
"""CrowdPose's files have no areas: its own code takes this share of a person's box for OKS."""


@dataclass(frozen=True, eq=False)
class PairedResults:
    """Who is there and who was found, each with the place of their image in `images`."""

    annotations: Annotations
    images: list[Entry]
    """In the order of their ids, by which COCO's code breaks ties in score."""
    people: list[Entry]
    """All annotated people of these images; `image_id` counts from 0, `id` from 1."""
    found: list[Entry]
    """All results; `image_id` counts from 0."""

    @property
    def people_by_image(self) -> list[list[Entry]]:
        """For each image its people."""
        return _by_image(self.people, len(self.images))

    @property
    def found_by_image(self) -> list[list[Entry]]:
        """For each image its results."""
        return _by_image(self.found, len(self.images))


def pair_results(annotations: Annotations, results: Sequence[Mapping[str, Any]]) -> PairedResults:
    """Bring people and results together.

    A result belongs to the image that its `file_name` names, else to the one with its `image_id`,
    be it a number or a string.

    Args:
        annotations: the truth.
        results: as `load_predictions` gives them. Those of another category than the people's are
            left out, unless all are: then the category is taken for a matter of counting.

    Raises:
        InputError: a result is of an image that is not annotated, or of another skeleton.
    """
    category = annotations.category_id
    judged = [r for r in results if r.get("category_id", category) == category] or results
    images = sorted(
        annotations.images, key=lambda image: (isinstance(image["id"], str), image["id"])
    )
    numbers = {str(image["id"]): number for number, image in enumerate(images)}
    return PairedResults(
        annotations,
        images,
        _true_people(annotations, numbers),
        _found_people(judged, annotations, numbers),
    )


def _true_people(annotations: Annotations, numbers: Mapping[str, int]) -> list[Entry]:
    """The annotated people, counted from 1: COCO's code takes the person 0 for nobody."""
    people = [
        person | {"id": id_, "image_id": numbers[str(person["image_id"])], "category_id": 1}
        for id_, person in enumerate(annotations.people, 1)
        if str(person["image_id"]) in numbers
    ]
    if annotations.skeleton == CROWDPOSE:
        for person in people:
            person["area"] = CROWDPOSE_AREA * person["bbox"][2] * person["bbox"][3]
    return people


def _found_people(
    results: Sequence[Mapping[str, Any]], annotations: Annotations, numbers: Mapping[str, int]
) -> list[Entry]:
    """The results in the form that COCO's code takes, each with its image's number."""
    path, count, files = annotations.path, len(annotations.skeleton), _ids_by_file(annotations)
    images = [numbers.get(_image_id(result, files)) for result in results]
    if lost := images.count(None):
        first = results[images.index(None)]
        name = first.get("file_name") or first["image_id"]
        raise InputError(
            f"{path}: lacks the images of {lost} of {len(images)} results, first {name}"
        )
    if other := {len(result["keypoints"]) for result in results} - {3 * count}:
        raise InputError(f"{path}: {count} keypoints a person, but {other.pop() / 3:g} in a result")
    # Without a box the keypoints' own counts; COCO's code wants one in all results or in none.
    kept = {"keypoints", "score"} | ({"bbox"} if all(r.get("bbox") for r in results) else set())
    return [
        {key: result[key] for key in kept} | {"image_id": image, "category_id": 1}
        for image, result in zip(images, results, strict=True)
    ]


def _image_id(result: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """The id of a result's image: by its file's path, base name or stem, else its `image_id`.

    The file goes first: `predict` makes the id from its name, as the annotations may not have.
    """
    file = PurePath(str(result.get("file_name") or ""))
    names = (str(file), file.name, file.stem)
    return next((files[name] for name in names if name in files), str(result["image_id"]))


def _ids_by_file(annotations: Annotations) -> dict[str, str]:
    """Image ids by their file's stem, base name and path, where no other image has the same."""
    images = [image for image in annotations.images if image.get("file_name")]
    paths = [PurePath(str(image["file_name"])) for image in images]
    ids: dict[str, str] = {}
    for names in ([p.stem for p in paths], [p.name for p in paths], [str(p) for p in paths]):
        uses = Counter(names)
        ids |= {n: str(i["id"]) for n, i in zip(names, images, strict=True) if uses[n] == 1}
    return ids


def _by_image(entries: list[Entry], count: int) -> list[list[Entry]]:
    listed: list[list[Entry]] = [[] for _ in range(count)]
    for entry in entries:
        listed[entry["image_id"]].append(entry)
    return listed
