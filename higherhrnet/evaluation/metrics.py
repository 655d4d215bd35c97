"""Annotations + results → the ten figures of COCO's keypoint protocol, or CrowdPose's nine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from higherhrnet.evaluation.crowd_index import crowd_indices
from higherhrnet.evaluation.pairing import PairedResults, pair_results
from higherhrnet.evaluation.precision_recall import PrecisionRecall, precision_recall_by_area
from higherhrnet.io.coco import Annotations
from higherhrnet.skeleton import CROWDPOSE

COCO_METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""Average precision and recall: over OKS 0.50 to 0.95, at 0.50, at 0.75, medium, large people."""
CROWDPOSE_METRICS = (
    "AP", "AP50", "AP75", "AP_easy", "AP_medium", "AP_hard", "AR", "AR50", "AR75",
)  # fmt: skip
"""No sizes, but AP over the images of each level of crowding alone."""
CROWD_LEVELS = {"easy": (-1.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, float("inf"))}
"""Crowd indices from, and below which, an image counts. The paper says 0.1 where its evaluation
code, and so every published figure, has 0.2."""


def evaluate_results(
    annotations: Annotations, results: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """The ten COCO figures, keyed and ordered as `COCO_METRICS`; −1 where there is nobody to judge by.

    They equal those of COCO's own code, with the skeleton's sigmas. The CrowdPose skeleton has
    `CROWDPOSE_METRICS` instead, as its authors define them. Arguments and errors are those of
    `pair_results`.
    """
    return compute_metrics(pair_results(annotations, results))


def compute_metrics(comparison: PairedResults) -> dict[str, float]:
    """The figures of `evaluate`, where people and results have been brought together before."""
    if comparison.annotations.skeleton == CROWDPOSE:
        return _crowdpose_figures(comparison)
    curves = precision_recall_by_area(comparison)
    medium, large = curves["medium"], curves["large"]
    precision, recall = _overall(curves["all"])
    values = [*precision, medium.ap(), large.ap(), *recall, medium.ar(), large.ar()]
    return dict(zip(COCO_METRICS, values, strict=True))


def _crowdpose_figures(comparison: PairedResults) -> dict[str, float]:
    """Each level is judged by itself.

    CrowdPose's own code averages −1 in where a level has nobody, and in some versions shows the
    last level's medium-sized people as the medium level, or a size that it does not know as −1.
    """
    precision, recall = _overall(precision_recall_by_area(comparison)["all"])
    indices = crowd_indices(comparison)
    levels = [
        precision_recall_by_area(
            comparison, [i for i, index in enumerate(indices) if low <= index < high]
        )["all"].ap()
        for low, high in CROWD_LEVELS.values()
    ]
    return dict(zip(CROWDPOSE_METRICS, [*precision, *levels, *recall], strict=True))


def _overall(curves: PrecisionRecall) -> tuple[list[float], list[float]]:
    """Average precision and recall over all OKS, at 0.50 and at 0.75."""
    thresholds = (None, 0.5, 0.75)
    return [curves.ap(oks) for oks in thresholds], [curves.ar(oks) for oks in thresholds]


def format_metrics(figures: Mapping[str, float], images: int, people: int) -> str:
    """The figures of `evaluate` as a small table, with a dash where there was nobody to judge by.

    `images` and `people`, how many there were, go under it.
    """
    heads, rows = metric_table(figures)
    lines = {"": heads, "precision (AP)": rows[0], "recall (AR)": rows[1]}
    table = [f"{head:14}" + "".join(f"{cell:>13}" for cell in row) for head, row in lines.items()]
    return "\n".join([*table, f"{images:,} images, {people:,} people"])


def metric_table(figures: Mapping[str, float]) -> tuple[list[str], list[list[str]]]:
    """Heads, and a row of cells each for precision and recall."""
    split = list(CROWD_LEVELS) if "AP_hard" in figures else ["medium", "large"]
    rows = [
        [format_metric(value) for name, value in figures.items() if name.startswith(kind)]
        for kind in ("AP", "AR")
    ]
    return ["OKS .50–.95", "OKS .50", "OKS .75", *split], rows


def format_metric(value: float) -> str:
    """Three decimals; a dash where there was nobody to judge by."""
    return "–" if value < 0 else f"{value:.3f}"
