"""Pairing of ground truth and results by image, for any way in which the images are named."""

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
"""CrowdPose's files contain no areas; its evaluation code uses this fraction of the box's area."""


@dataclass(frozen=True, eq=False)
class PairedResults:
    """The ground truth and the results of a dataset; `image_id` is an index into `images`."""

    annotations: Annotations
    images: list[Entry]
    """Sorted by ID, because pycocotools orders results of equal score by image ID."""
    people: list[Entry]
    """All annotated people of these images; their `id` counts from 1."""
    results: list[Entry]

    @property
    def people_by_image(self) -> list[list[Entry]]:
        """The annotated people of each image."""
        return _group_by_image(self.people, len(self.images))

    @property
    def results_by_image(self) -> list[list[Entry]]:
        """The results of each image."""
        return _group_by_image(self.results, len(self.images))


def pair_results(annotations: Annotations, results: Sequence[Mapping[str, Any]]) -> PairedResults:
    """Assigns ground truth and results to images.

    A result belongs to the image that its `file_name` names, else to the image with its `image_id`,
    which may be a number or a string.

    Args:
        annotations: the ground truth.
        results: COCO keypoint results, as `load_predictions` returns them. Results of other
            categories than the people's are ignored; if all are of other categories, `category_id`
            is ignored instead.

    Raises:
        InputError: a result belongs to an image without annotations, or to another skeleton.
    """
    category = annotations.category_id
    of_category = [r for r in results if r.get("category_id", category) == category]
    images = sorted(
        annotations.images, key=lambda image: (isinstance(image["id"], str), image["id"])
    )
    indices = {str(image["id"]): index for index, image in enumerate(images)}
    return PairedResults(
        annotations,
        images,
        _indexed_people(annotations, indices),
        _indexed_results(of_category or results, annotations, indices),
    )


def _indexed_people(annotations: Annotations, indices: Mapping[str, int]) -> list[Entry]:
    """Returns the annotated people, with IDs from 1: ID 0 means "no match" in pycocotools."""
    people = [
        person | {"id": id_, "image_id": indices[str(person["image_id"])], "category_id": 1}
        for id_, person in enumerate(annotations.people, 1)
        if str(person["image_id"]) in indices
    ]
    if annotations.skeleton == CROWDPOSE:
        for person in people:
            person["area"] = CROWDPOSE_AREA * person["bbox"][2] * person["bbox"][3]
    return people


def _indexed_results(
    results: Sequence[Mapping[str, Any]], annotations: Annotations, indices: Mapping[str, int]
) -> list[Entry]:
    """Returns the results in the form that pycocotools expects, with the index of their image."""
    path, count = annotations.path, len(annotations.skeleton)
    ids_by_file_name = _ids_by_file_name(annotations)
    images = [indices.get(_image_id(result, ids_by_file_name)) for result in results]
    if missing := images.count(None):
        first = results[images.index(None)]
        name = first.get("file_name") or first["image_id"]
        raise InputError(
            f"{path}: contains no image for {missing} of {len(images)} results; "
            f"the first of these results is of image {name}"
        )
    if other := {len(result["keypoints"]) for result in results} - {3 * count}:
        raise InputError(
            f"{path}: people have {count} keypoints, but a result has {other.pop() / 3:g}"
        )
    # pycocotools requires a box in all results or in none; without one it uses the keypoints.
    kept = {"keypoints", "score"} | ({"bbox"} if all(r.get("bbox") for r in results) else set())
    return [
        {key: result[key] for key in kept} | {"image_id": image, "category_id": 1}
        for image, result in zip(images, results, strict=True)
    ]


def _image_id(result: Mapping[str, Any], ids_by_file_name: Mapping[str, str]) -> str:
    """Returns the ID of a result's image: by the path, base name or stem of its file, else its ID.

    The file name has priority because `predict` derives IDs from file names, and the annotations
    may use other IDs.
    """
    file = PurePath(str(result.get("file_name") or ""))
    names = (str(file), file.name, file.stem)
    known = (ids_by_file_name[name] for name in names if name in ids_by_file_name)
    return next(known, str(result["image_id"]))


def _ids_by_file_name(annotations: Annotations) -> dict[str, str]:
    """Returns image IDs by the stem, base name and path of the files, where these are unique."""
    images = [image for image in annotations.images if image.get("file_name")]
    paths = [PurePath(str(image["file_name"])) for image in images]
    ids: dict[str, str] = {}
    for names in ([p.stem for p in paths], [p.name for p in paths], [str(p) for p in paths]):
        uses = Counter(names)
        ids |= {n: str(i["id"]) for n, i in zip(names, images, strict=True) if uses[n] == 1}
    return ids


def _group_by_image(entries: list[Entry], count: int) -> list[list[Entry]]:
    groups: list[list[Entry]] = [[] for _ in range(count)]
    for entry in entries:
        groups[entry["image_id"]].append(entry)
    return groups
