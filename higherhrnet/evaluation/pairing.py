"""Pairing of ground truth and results by image, for any way in which the images are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any
from unicodedata import normalize

from higherhrnet.errors import InputError
from higherhrnet.io.datasets.coco import Annotations, Entry
from higherhrnet.io.json_values import identifier
from higherhrnet.messages import counted
from higherhrnet.poses.skeletons import CROWDPOSE

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
    num_ignored: int
    """The number of results of other categories, which are not in `results`."""
    ignores_category: bool
    """Whether all results are of other categories, so that `category_id` is ignored."""

    @property
    def people_by_image(self) -> list[list[Entry]]:
        """Returns the annotated people of each image."""
        return _group_by_image(self.people, len(self.images))

    @property
    def results_by_image(self) -> list[list[Entry]]:
        """Returns the results of each image."""
        return _group_by_image(self.results, len(self.images))


def pair_results(annotations: Annotations, results: Sequence[Mapping[str, Any]]) -> PairedResults:
    """Assigns ground truth and results to images.

    A result belongs to the image that its `file_name` names by path, base name or stem, else to the
    image of its `image_id`. If not all values of `image_id` are IDs of images but all are names of
    files, they are used as names.

    Args:
        annotations: the ground truth.
        results: COCO keypoint results, as `load_predictions` returns them. Results of other
            categories than the people's are ignored; if all are of other categories, `category_id`
            is ignored instead.

    Raises:
        InputError: a result belongs to an image without annotations, or to another skeleton, or two
            images have the same ID.
    """
    of_people = [result for result in results if _is_of_people(result, annotations)]
    images = sorted(
        annotations.images_by_id().values(),
        key=lambda image: (isinstance(image["id"], str), image["id"]),
    )
    indices = {image["id"]: index for index, image in enumerate(images)}
    return PairedResults(
        annotations,
        images,
        _indexed_people(annotations, indices),
        _indexed_results(of_people or results, annotations, indices),
        len(results) - len(of_people or results),
        ignores_category=bool(results) and not of_people,
    )


def evaluated_area(person: Mapping[str, Any], annotations: Annotations) -> float:
    """Returns the area with which a person is evaluated: for CrowdPose, a part of the box."""
    if annotations.skeleton == CROWDPOSE:
        return float(CROWDPOSE_AREA * person["bbox"][2] * person["bbox"][3])
    return float(person["area"])


def _is_of_people(result: Mapping[str, Any], annotations: Annotations) -> bool:
    category = result.get("category_id")
    if category is None:
        return True
    people = annotations.category_ids | {annotations.category_id}
    return identifier(category, "category_id") in people


def _indexed_people(annotations: Annotations, indices: Mapping[int | str, int]) -> list[Entry]:
    """Returns the annotated people, with IDs from 1: ID 0 means "no match" in pycocotools."""
    return [
        person
        | {
            "id": id_,
            "image_id": indices[person["image_id"]],
            "category_id": 1,
            "area": evaluated_area(person, annotations),
        }
        for id_, person in enumerate(annotations.people, 1)
    ]


def _indexed_results(
    results: Sequence[Mapping[str, Any]],
    annotations: Annotations,
    indices: Mapping[int | str, int],
) -> list[Entry]:
    """Returns the results in the form that pycocotools expects, with the index of their image."""
    path, count = annotations.path, len(annotations.skeleton)
    images = _image_indices(results, annotations, indices)
    if missing := images.count(None):
        first = results[images.index(None)]
        name = first.get("file_name") or first["image_id"]
        raise InputError(
            f"{path}: contains no image for {missing:,} of {counted(len(images), 'result')}; "
            f"the first of these results is of image {name}"
        )
    if other := {len(result["keypoints"]) for result in results} - {3 * count}:
        raise InputError(
            f"{path}: people have {count} keypoints, but a result has {other.pop() / 3:g}; results "
            "and annotations must have the same keypoints in the same order"
        )
    # pycocotools requires a box in all results or in none; without one it uses the keypoints.
    kept = {"keypoints", "score"} | ({"bbox"} if all(r.get("bbox") for r in results) else set())
    return [
        {key: result[key] for key in kept} | {"image_id": image, "category_id": 1}
        for image, result in zip(images, results, strict=True)
    ]


def _image_indices(
    results: Sequence[Mapping[str, Any]],
    annotations: Annotations,
    indices: Mapping[int | str, int],
) -> list[int | None]:
    """Returns the index of each result's image; None if there is no such image.

    The file name has priority because `predict` derives IDs from file names, and the annotations
    may use other IDs. All values of `image_id` are understood in the same way, because a number may
    be the ID of one image and the file name of another.
    """
    by_name = _indices_by_name(annotations, indices)
    files = [str(result.get("file_name") or "") for result in results]
    found_files = {file: _find_name(file, by_name) for file in set(files)}
    of_files = [found_files[file] for file in files]
    rest = [r for r, index in zip(results, of_files, strict=True) if index is None]
    values = [identifier(result["image_id"], "image_id") for result in rest]
    of_ids = [indices.get(value) for value in values]
    of_names = [_find_name(value, by_name) for value in values] if None in of_ids else [None]
    found = iter(of_ids if None in of_names else of_names)
    return [next(found) if index is None else index for index in of_files]


def _find_name(name: int | str | None, by_name: Mapping[int | str, int]) -> int | None:
    """Returns the index of the image with this path, base name or stem, or this number as stem."""
    names = (name, str(name)) if isinstance(name, int) else reversed(_names(name or ""))
    return next((by_name[name] for name in names if name in by_name), None)


def _indices_by_name(
    annotations: Annotations, indices: Mapping[int | str, int]
) -> dict[int | str, int]:
    """Returns the indices of images by all names of their files that are unique.

    The keys are the stem as a number, if it is one, the stem, the base name and the path.
    """
    images = [image for image in annotations.images_by_id().values() if image.get("file_name")]
    all_names = [_names(image["file_name"]) for image in images]
    numbers = [int(stem) if _is_number(stem) else stem for stem, _, _ in all_names]
    found: dict[int | str, int] = {}
    for names in (numbers, *zip(*all_names, strict=True)):
        uses = Counter(names)
        found |= {
            name: indices[image["id"]]
            for name, image in zip(names, images, strict=True)
            if uses[name] == 1
        }
    return found


def _names(path: str) -> tuple[str, str, str]:
    """Returns the stem, the base name and the path of a file.

    Backslashes separate folders, too, and the query of a URL is not part of the base name.
    """
    file = PureWindowsPath(normalize("NFC", path))
    name = file.name.partition("?")[0]
    return PureWindowsPath(name).stem, name, file.as_posix()


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdecimal() and len(stem) < 100


def _group_by_image(entries: list[Entry], count: int) -> list[list[Entry]]:
    groups: list[list[Entry]] = [[] for _ in range(count)]
    for entry in entries:
        groups[entry["image_id"]].append(entry)
    return groups
