"""Precision–recall curves of COCO's keypoint evaluation, for any images and sizes of people."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from higherhrnet.arrays import DoubleArray, IndexArray
from higherhrnet.evaluation.keypoint_similarity import pair_similarity
from higherhrnet.evaluation.pairing import PairedResults
from higherhrnet.io.datasets.coco import Entry
from higherhrnet.poses.skeleton import Skeleton

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""OKS thresholds of a true positive."""
MAX_RESULTS = 20
"""Number of results per image that are evaluated, those with the highest scores."""
RECALLS = np.linspace(0, 1, 101)
AREAS = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
"""Ranges of a person's area in square pixels. COCO's metrics do not include small people."""


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall at each OKS of `THRESHOLDS`; −1 where there is no ground truth."""

    precision: DoubleArray
    """(10, 101) the highest precision at each recall of `RECALLS` or above."""
    recall: DoubleArray
    """(10,) the highest recall."""

    def ap(self, oks: float | None = None) -> float:
        """Returns the average precision at one OKS, or the mean over all."""
        return _mean(self.precision, oks)

    def ar(self, oks: float | None = None) -> float:
        """Returns the highest recall at one OKS, or the mean over all."""
        return _mean(self.recall, oks)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pauses the search for reference cycles, which takes a third of the time for large datasets.

    Hundreds of thousands of dictionaries and lists are created here, none of them in a cycle.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_garbage_collection()
def precision_recall_by_area(
    paired: PairedResults, image_indices: Sequence[int] | None = None
) -> dict[str, PrecisionRecall]:
    """Computes the curves for each range of `AREAS`.

    Args:
        paired: the ground truth and the results.
        image_indices: the images to evaluate, as indices into `paired.images`; default: all.
    """
    from faster_coco_eval import COCO, COCOeval_faster  # its import takes long

    indices = range(len(paired.images)) if image_indices is None else image_indices
    if not len(indices):
        empty = PrecisionRecall(np.full((10, 101), -1.0), np.full(10, -1.0))
        return dict.fromkeys(AREAS, empty)
    images = [{"id": index} for index in range(len(paired.images))]
    people = [dict(person) for person in paired.people]  # copies: COCOeval modifies them
    results = _detections(paired.results, paired.annotations.skeleton)
    ground_truth = COCO({"images": images, "annotations": people, "categories": [{"id": 1}]})
    evaluator = COCOeval_faster(
        ground_truth,
        ground_truth.loadRes(results),
        "keypoints",
        print_function=lambda *_: None,
        kpt_oks_sigmas=list(paired.annotations.skeleton.sigmas),
    )
    # COCOeval computes the similarities of one person at a time, which takes ten times as long.
    similarities = _similarities(paired)
    evaluator.computeOks = lambda image, category: similarities[image]
    evaluator.params.imgIds = list(indices)
    evaluator.params.catIds = [1]  # not detected by itself where no person is annotated
    evaluator.params.areaRng, evaluator.params.areaRngLbl = list(AREAS.values()), list(AREAS)
    evaluator.evaluate()
    evaluator.accumulate()
    precision, recall = (np.asarray(evaluator.eval[key]) for key in ("precision", "recall"))
    return {
        name: PrecisionRecall(precision[:, :, 0, index, 0], recall[:, 0, index, 0])
        for index, name in enumerate(AREAS)
    }


def _detections(results: Sequence[Entry], skeleton: Skeleton) -> list[Entry]:
    """Returns the results without keypoints, in the form that COCOeval needs beside similarities.

    Results without a box get that of all keypoints, as in pycocotools.
    """
    if results and "bbox" not in results[0]:
        keypoints = np.array([result["keypoints"] for result in results], float)
        points = keypoints.reshape(len(results), len(skeleton), 3)[..., :2]
        corner = points.min(1)
        boxes = np.concatenate([corner, points.max(1) - corner], 1).tolist()
    else:
        boxes = [result["bbox"] for result in results]
    return [
        {
            "image_id": result["image_id"],
            "category_id": 1,
            "score": result["score"],
            "bbox": box,
            "segmentation": [],  # `loadRes` would make one of the box
        }
        for result, box in zip(results, boxes, strict=True)
    ]


def _similarities(paired: PairedResults) -> list[DoubleArray | list[float]]:
    """Computes what `COCOeval.computeOks` returns for each image.

    Returns:
        For each image, (D, P) similarities of the best results, from the highest score to the
        lowest, to all people; an empty list if there are none.
    """
    count = len(paired.images)
    result_image = np.array([result["image_id"] for result in paired.results], int)
    person_image = np.array([person["image_id"] for person in paired.people], int)
    scores = np.array([result["score"] for result in paired.results], float)
    # Results and people in the order of the images; results also by score.
    results = np.lexsort((-scores, result_image))
    rank = np.arange(len(results)) - _first(result_image, count)[result_image[results]]
    results = results[rank < MAX_RESULTS]
    people = np.argsort(person_image, kind="stable")
    num_results = np.bincount(result_image[results], minlength=count)
    num_people = np.bincount(person_image, minlength=count)
    # One pair for each result and each person of its image, in rows of one result each.
    row_length = num_people[result_image[results]]
    column = np.arange(row_length.sum()) - np.repeat(row_length.cumsum() - row_length, row_length)
    pair_results = np.repeat(results, row_length)
    pair_people = people[_first(person_image, count)[result_image[pair_results]] + column]
    similarity = pair_similarity(
        paired.results, paired.people, pair_results, pair_people, paired.annotations.skeleton
    )
    shapes = zip(num_results.tolist(), num_people.tolist(), strict=True)
    parts = np.split(similarity, (num_results * num_people).cumsum()[:-1])
    return [
        part.reshape(shape) if part.size else [] for part, shape in zip(parts, shapes, strict=True)
    ]


def _first(groups: IndexArray, count: int) -> IndexArray:
    """Returns where each of `count` groups would begin if its members were sorted."""
    sizes = np.bincount(groups, minlength=count)
    return np.asarray(sizes.cumsum() - sizes)


def _mean(values: DoubleArray, oks: float | None) -> float:
    selected = values if oks is None else values[np.isclose(THRESHOLDS, oks)]
    valid = selected[selected > -1]
    return float(valid.mean()) if valid.size else -1.0
