"""Precision–recall curves of COCO's keypoint evaluation, for any images and sizes of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from higherhrnet.arrays import DoubleArray
from higherhrnet.evaluation.keypoint_similarity import box_similarity, object_similarity
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
    results = _with_boxes(paired.results)
    ground_truth = COCO({"images": images, "annotations": people, "categories": [{"id": 1}]})
    evaluator = COCOeval_faster(
        ground_truth,
        ground_truth.loadRes(results),
        "keypoints",
        print_function=lambda *_: None,
        kpt_oks_sigmas=list(paired.annotations.skeleton.sigmas),
    )
    # COCOeval computes the similarities of one person at a time, which takes five times as long.
    evaluator.computeOks = partial(
        _similarity, paired.results_by_image, paired.people_by_image, paired.annotations.skeleton
    )
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


def _with_boxes(results: Sequence[Entry]) -> list[Entry]:
    """Copies results; those without a box get that of all keypoints, as in pycocotools."""
    if not results or "bbox" in results[0]:
        return [dict(result) for result in results]
    keypoints = np.array([result["keypoints"] for result in results], float)
    points = keypoints.reshape(len(results), -1, 3)[:, :, :2]
    corner = points.min(1)
    boxes = np.concatenate([corner, points.max(1) - corner], 1).tolist()
    return [result | {"bbox": box} for result, box in zip(results, boxes, strict=True)]


def _similarity(
    results_by_image: Sequence[Sequence[Entry]],
    people_by_image: Sequence[Sequence[Entry]],
    skeleton: Skeleton,
    image: int,
    category: int,
) -> DoubleArray | list[float]:
    """Computes the similarities of one image as `COCOeval.computeOks` does.

    Returns:
        (D, P) similarities of the best results, from the highest score to the lowest, to all
        people; an empty list if there are none.
    """
    results, people = results_by_image[image], people_by_image[image]
    if not results or not people:
        return []
    results = sorted(results, key=lambda result: -result["score"])[:MAX_RESULTS]
    labeled = np.array([any(person["keypoints"][2::3]) for person in people])
    similarity = np.empty((len(results), len(people)))
    for compared, compute in ((labeled, object_similarity), (~labeled, box_similarity)):
        if compared.any():
            chosen = [people[index] for index in np.flatnonzero(compared).tolist()]
            similarity[:, compared] = compute(results, chosen, skeleton)
    return similarity


def _mean(values: DoubleArray, oks: float | None) -> float:
    selected = values if oks is None else values[np.isclose(THRESHOLDS, oks)]
    valid = selected[selected > -1]
    return float(valid.mean()) if valid.size else -1.0
