"""Annotations + predictions → the ten figures of COCO's keypoint protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from higherhrnet.annotations import Annotations, Entry
from higherhrnet.errors import InputError

FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""Average precision and recall: over OKS 0.50 to 0.95, at 0.50, at 0.75, medium, large people."""


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
