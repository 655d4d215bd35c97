"""The ten metrics of COCO's keypoint evaluation, or the nine metrics of CrowdPose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from higherhrnet.evaluation.crowd_index import crowd_indices
from higherhrnet.evaluation.pairing import PairedResults, pair_results
from higherhrnet.evaluation.precision_recall import PrecisionRecall, precision_recall_by_area
from higherhrnet.io.datasets.coco import Annotations, load_annotations, load_predictions
from higherhrnet.messages import counted
from higherhrnet.poses.skeletons import CROWDPOSE

COCO_METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""Average precision and average recall: over OKS 0.50 to 0.95, at 0.50, at 0.75, for medium and for
large people."""
CROWDPOSE_METRICS = (
    "AP", "AP50", "AP75", "AP_easy", "AP_medium", "AP_hard", "AR", "AR50", "AR75",
)  # fmt: skip
"""As COCO's, but with AP over the images of each crowd level instead of sizes of people."""
CROWD_LEVELS = {"easy": (-1.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, float("inf"))}
"""Ranges [low, high) of the crowd index. The paper's text separates easy and medium at 0.1, its
code and all published metrics at 0.2."""

_HEADINGS = {
    "": "OKS .50–.95", "50": "OKS .50", "75": "OKS .75", "M": "medium", "L": "large",
    "_easy": "easy", "_medium": "medium", "_hard": "hard",
}  # fmt: skip
"""The headings of metrics in a table, by the part of their names after AP or AR."""


def evaluate(
    annotations: str | Path, predictions: str | Path | Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Computes the metrics of predictions on annotated images.

    Args:
        annotations: a COCO keypoints file with the ground truth.
        predictions: a file of COCO keypoint results, or the results of all images in a list, as
            `Poses.to_coco` returns them for one image.

    Returns:
        A value for each metric; see `evaluate_results`.

    Raises:
        InputError: a file cannot be read, no annotated person has labeled keypoints, or a result
            does not match the annotations.
    """
    if isinstance(predictions, str | Path):
        predictions = load_predictions(predictions)
    truth = load_annotations(annotations)
    truth.require_people()
    return evaluate_results(truth, predictions)


def evaluate_results(
    annotations: Annotations, results: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Computes the metrics of COCO, or those of CrowdPose where the skeleton is CrowdPose's.

    The metrics equal those of pycocotools with the skeleton's sigmas. The arguments and errors
    are those of `pair_results`.

    Returns:
        A value for each name of `COCO_METRICS` or `CROWDPOSE_METRICS`, in their order; −1 where
        there is no ground truth.
    """
    return compute_metrics(pair_results(annotations, results))


def compute_metrics(paired: PairedResults) -> dict[str, float]:
    """Computes the metrics of `evaluate_results` from results that are already paired."""
    if paired.annotations.skeleton == CROWDPOSE:
        return _crowdpose_metrics(paired)
    curves = precision_recall_by_area(paired)
    medium, large = curves["medium"], curves["large"]
    precision, recall = _overall_metrics(curves["all"])
    values = [*precision, medium.ap(), large.ap(), *recall, medium.ar(), large.ar()]
    return dict(zip(COCO_METRICS, values, strict=True))


def _crowdpose_metrics(paired: PairedResults) -> dict[str, float]:
    """Computes CrowdPose's metrics, each level from its own images only.

    CrowdPose's evaluation code differs where a level has no people: it includes −1 in the average.
    Some of its versions report the AP of medium-sized people of the last level as that of the
    medium level.
    """
    precision, recall = _overall_metrics(precision_recall_by_area(paired)["all"])
    indices = crowd_indices(paired)
    levels = [
        precision_recall_by_area(
            paired, [i for i, index in enumerate(indices) if low <= index < high]
        )["all"].ap()
        for low, high in CROWD_LEVELS.values()
    ]
    return dict(zip(CROWDPOSE_METRICS, [*precision, *levels, *recall], strict=True))


def _overall_metrics(curves: PrecisionRecall) -> tuple[list[float], list[float]]:
    """Computes average precision and recall over all OKS, at 0.50 and at 0.75."""
    thresholds = (None, 0.5, 0.75)
    return [curves.ap(oks) for oks in thresholds], [curves.ar(oks) for oks in thresholds]


def format_metrics(metrics: Mapping[str, float], images: int, people: int) -> str:
    """Formats the metrics of `evaluate_results` as a text table.

    Args:
        metrics: as `evaluate_results` returns them; −1 is shown as a dash.
        images: the number of images, shown below the table.
        people: the number of people, shown below the table.
    """
    headings, rows = metric_table(metrics)
    lines = {"": headings} | rows
    table = [f"{name:14}" + "".join(f"{cell:>13}" for cell in row) for name, row in lines.items()]
    counts = f"{counted(images, 'image')}, {counted(people, 'person', 'people')}"
    return "\n".join([*map(str.rstrip, table), counts])


def metric_table(metrics: Mapping[str, float]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the headings of the columns, and the cells of the rows for precision and recall."""
    suffixes = [suffix for suffix in _HEADINGS if f"AP{suffix}" in metrics]

    def cells(prefix: str) -> list[str]:
        names = [prefix + suffix for suffix in suffixes]
        return [format_metric(metrics[name]) if name in metrics else "" for name in names]

    headings = [_HEADINGS[suffix] for suffix in suffixes]
    return headings, {"precision (AP)": cells("AP"), "recall (AR)": cells("AR")}


def format_metric(value: float) -> str:
    """Formats a metric with three decimals, or as a dash where there is no ground truth."""
    return "–" if value < 0 else f"{value:.3f}"
