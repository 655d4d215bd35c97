"""Precision–recall curves of COCO's keypoint evaluation, for any images and sizes of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from higherhrnet.arrays import DoubleArray
from higherhrnet.evaluation.pairing import PairedResults

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""OKS thresholds of a true positive."""
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
    results = [dict(result) for result in paired.results]
    ground_truth = COCO({"images": images, "annotations": people, "categories": [{"id": 1}]})
    evaluator = COCOeval_faster(
        ground_truth,
        ground_truth.loadRes(results),
        "keypoints",
        print_function=lambda *_: None,
        kpt_oks_sigmas=list(paired.annotations.skeleton.sigmas),
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


def _mean(values: DoubleArray, oks: float | None) -> float:
    selected = values if oks is None else values[np.isclose(THRESHOLDS, oks)]
    valid = selected[selected > -1]
    return float(valid.mean()) if valid.size else -1.0
