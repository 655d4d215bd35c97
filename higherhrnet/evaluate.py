"""Annotations + predictions → the ten figures of COCO's keypoint protocol."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from higherhrnet.errors import InputError
from higherhrnet.skeleton import Skeleton

FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""Average precision and recall: over OKS 0.50 to 0.95, at 0.50, at 0.75, medium, large people."""

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


def evaluate(annotations: Annotations, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The ten COCO figures, keyed and ordered as `FIGURES`; −1 where there is nobody to judge by.

    They equal those of COCO's own code, with the skeleton's sigmas. A result belongs to the image
    that its `file_name` names, else to the one with its `image_id`, be it a number or a string.

    Args:
        annotations: the truth.
        results: as `load_predictions` gives them. Those of another category than the people's are
            left out, unless all are: then the category is taken for a matter of counting.

    Raises:
        InputError: a result is of an image that is not annotated, or of another skeleton.
    """
    from faster_coco_eval import COCO, COCOeval_faster  # slower to import than all the rest

    numbers, category = _numbered(annotations.images), annotations.category_id
    judged = [r for r in results if r.get("category_id", category) == category] or results
    images = [{"id": number} for number in numbers.values()]
    people = _true_people(annotations, numbers)
    truth = COCO({"images": images, "annotations": people, "categories": [{"id": 1}]})
    judge = COCOeval_faster(
        truth,
        truth.loadRes(_found_people(judged, annotations, numbers)),
        "keypoints",
        print_function=lambda *_: None,
        kpt_oks_sigmas=list(annotations.skeleton.sigmas),
    )
    judge.params.catIds = [1]  # where nobody is annotated, it would not find the category itself
    judge.run()
    return {name: float(figure) for name, figure in zip(FIGURES, judge.stats, strict=True)}


def format_figures(figures: Mapping[str, float], images: int, people: int) -> str:
    """The figures of `evaluate` as a small table, with a dash where there was nobody to judge by.

    `images` and `people`, how many there were, go under it.
    """
    heads = ("OKS .50–.95", "OKS .50", "OKS .75", "medium", "large")
    cells = ["–" if figures[name] < 0 else f"{figures[name]:.3f}" for name in FIGURES]
    rows = {"": heads, "precision (AP)": cells[:5], "recall (AR)": cells[5:]}
    table = [f"{head:14}" + "".join(f"{cell:>13}" for cell in row) for head, row in rows.items()]
    return "\n".join([*table, f"{images:,} images, {people:,} people"])


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
    corner, size = np.min(seen or [[0, 0]], 0), np.ptp(seen or [[0, 0]], 0)
    box = person.setdefault("bbox", [*corner.tolist(), *size.tolist()])
    _check_numbers(box, f"{where}: bbox", 4)
    _check_numbers([person.setdefault("area", box[2] * box[3])], f"{where}: area", 1)
    person["iscrowd"] = int(person.get("iscrowd", 0))
    return person


def _numbered(images: list[Entry]) -> dict[str, int]:
    """A number for each image id, in the ids' order, by which COCO's code breaks ties in score."""
    ids = sorted({image["id"] for image in images}, key=lambda id_: (isinstance(id_, str), id_))
    return {str(id_): number for number, id_ in enumerate(ids)}


def _true_people(annotations: Annotations, numbers: Mapping[str, int]) -> list[Entry]:
    """The annotated people, counted from 1: COCO's code takes the person 0 for nobody."""
    return [
        person | {"id": id_, "image_id": numbers[str(person["image_id"])], "category_id": 1}
        for id_, person in enumerate(annotations.people, 1)
        if str(person["image_id"]) in numbers
    ]


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
