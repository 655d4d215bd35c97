"""Comparison → precision over recall, for any images and sizes of people, as COCO's code has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from higherhrnet.arrays import DoubleArray
from higherhrnet.evaluation.pairing import PairedResults

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Object Keypoint Similarity from which a result is right."""
RECALLS = np.linspace(0, 1, 101)
AREAS = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
"""Square pixels a person covers; the protocol itself has no small people."""


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall at each OKS of `THRESHOLDS`; −1 where there is nobody to judge by."""

    precision: DoubleArray
    """(10, 101) the best precision from each recall of `RECALLS` on."""
    recall: DoubleArray
    """(10,) the highest recall."""

    def ap(self, oks: float | None = None) -> float:
        """Average precision, at one OKS or over all."""
        return _mean(self.precision, oks)

    def ar(self, oks: float | None = None) -> float:
        """The highest recall, at one OKS or as a mean over all."""
        return _mean(self.recall, oks)


def precision_recall_by_area(
    comparison: PairedResults, images: Sequence[int] | None = None
) -> dict[str, PrecisionRecall]:
    """The curves of people of each size of `AREAS`; of all images, or of those that are named."""
    from faster_coco_eval import COCO, COCOeval_faster  # slower to import than all the rest

    numbers = range(len(comparison.images)) if images is None else images
    if not len(numbers):
        nothing = PrecisionRecall(np.full((10, 101), -1.0), np.full(10, -1.0))
        return dict.fromkeys(AREAS, nothing)
    listed = [{"id": number} for number in range(len(comparison.images))]
    # COCO's code writes into what it is given.
    people, found = ([dict(e) for e in some] for some in (comparison.people, comparison.found))
    truth = COCO({"images": listed, "annotations": people, "categories": [{"id": 1}]})
    judge = COCOeval_faster(
        truth,
        truth.loadRes(found),
        "keypoints",
        print_function=lambda *_: None,
        kpt_oks_sigmas=list(comparison.annotations.skeleton.sigmas),
    )
    judge.params.imgIds = list(numbers)
    judge.params.catIds = [1]  # where nobody is annotated, it would not find the category itself
    judge.params.areaRng, judge.params.areaRngLbl = list(AREAS.values()), list(AREAS)
    judge.evaluate()
    judge.accumulate()
    precision, recall = (np.asarray(judge.eval[what]) for what in ("precision", "recall"))
    return {
        name: PrecisionRecall(precision[:, :, 0, place, 0], recall[:, 0, place, 0])
        for place, name in enumerate(AREAS)
    }


def _mean(values: DoubleArray, oks: float | None) -> float:
    chosen = values if oks is None else values[np.isclose(THRESHOLDS, oks)]
    known = chosen[chosen > -1]
    return float(known.mean()) if known.size else -1.0
