"""The evaluation report: an HTML page of metrics, curves, error types and the worst images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from higherhrnet.evaluation.crowd_index import crowd_index_note, crowd_indices
from higherhrnet.evaluation.error_analysis import (
    KEYPOINTS,
    PEOPLE,
    RESULTS,
    ErrorCounts,
    analyze_errors,
    sum_errors,
)
from higherhrnet.evaluation.keypoint_similarity import is_evaluated
from higherhrnet.evaluation.metrics import compute_metrics, format_metric, metric_table
from higherhrnet.evaluation.pairing import PairedResults, pair_results
from higherhrnet.evaluation.precision_recall import (
    AREAS,
    RECALLS,
    THRESHOLDS,
    PrecisionRecall,
    precision_recall_by_area,
)
from higherhrnet.evaluation.worst_images import draw_worst_images
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.datasets.coco import Annotations
from higherhrnet.messages import counted

CROWD_INDEX_BINS = (0.0, 0.1, 0.2, 0.5, 0.8)
"""The lower limits of the ranges of the crowd index."""


@dataclass(frozen=True)
class Curve:
    """The precision–recall curve at one OKS."""

    label: str
    points: str
    """The `points` attribute of an SVG polyline: x is the recall, y the precision."""


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart."""

    name: str
    value: str
    fraction: float
    """The length of the bar, 0 to 1."""
    note: str


@dataclass(frozen=True)
class BarChart:
    """A section of the page with a bar chart."""

    title: str
    note: str
    bars: list[Bar]


def write_report(
    folder: Path,
    annotations: Annotations,
    results: Sequence[Mapping[str, Any]],
    images: Path | None = None,
    title: str = "Evaluation",
) -> Path:
    """Writes `index.html` and drawings of the worst images into a folder.

    The page is self-contained, except for the drawings; it opens without a server.

    Args:
        folder: the folder to write to; it is created if necessary.
        annotations: the ground truth.
        results: COCO keypoint results, as `load_predictions` returns them.
        images: the folder or .zip file of the images; None to draw none.
        title: the title of the page.

    Returns:
        The path of `index.html`.

    Raises:
        InputError: the results do not match the annotations, or the folder cannot be written to.
    """
    paired = pair_results(annotations, results)
    curves, errors = precision_recall_by_area(paired), analyze_errors(paired)
    headings, rows = metric_table(compute_metrics(paired))
    page = _template().render(
        title=title,
        num_images=len(paired.images),
        num_people=annotations.num_people,
        num_results=len(paired.results),
        headings=headings,
        rows=rows,
        curves=_curves(curves["all"]),
        charts=[
            _size_chart(curves, paired),
            _crowd_index_chart(paired),
            *_error_charts(sum_errors(errors)),
        ],
        worst_images=draw_worst_images(folder, paired, errors, images),
    )
    target = folder / "index.html"
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    return target


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("higherhrnet", "evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _curves(curves: PrecisionRecall) -> list[Curve]:
    return [
        Curve(
            f"OKS {oks:.2f}: {format_metric(curves.ap(oks))}",
            " ".join(f"{r:g},{p:.4g}" for r, p in zip(RECALLS, precision.clip(0), strict=True)),
        )
        for oks, precision in zip(THRESHOLDS, curves.precision, strict=True)
    ]


def _size_chart(curves: Mapping[str, PrecisionRecall], paired: PairedResults) -> BarChart:
    areas = [person["area"] for person in paired.people if is_evaluated(person)]
    bars = []
    for name in ("small", "medium", "large"):
        low, high = AREAS[name]
        count = sum(low <= area <= high for area in areas)
        bars.append(_ap_bar(name, curves[name].ap(), counted(count, "person", "people")))
    return BarChart(
        "AP by size",
        "AP of small people, with an area below 32² pixels, of medium people, up to 96² pixels, "
        "and of large people. Many datasets, such as COCO, label no keypoints of small people.",
        bars,
    )


def _crowd_index_chart(paired: PairedResults) -> BarChart:
    indices = crowd_indices(paired)
    bars = []
    for low, high in zip(CROWD_INDEX_BINS, (*CROWD_INDEX_BINS[1:], float("inf")), strict=True):
        images = [image for image, index in enumerate(indices) if low <= index < high]
        ap = precision_recall_by_area(paired, images)["all"].ap()
        bars.append(_ap_bar(f"{low:g} to {min(high, 1):g}", ap, counted(len(images), "image")))
    return BarChart(
        "AP by crowd index",
        "AP over the images of each range of the crowd index, which is the number of other "
        "people's keypoints in a person's box per own keypoint, averaged over the people. "
        f"{crowd_index_note(paired.images)}",
        bars,
    )


def _ap_bar(name: str, ap: float, note: str) -> Bar:
    return Bar(name, format_metric(ap), max(ap, 0.0), note)


def _error_charts(errors: ErrorCounts) -> list[BarChart]:
    return [
        _category_chart("People", "The labeled people by category.", PEOPLE, errors.people),
        _category_chart(
            "Results",
            "The results by category; at most 20 of an image, those with the highest scores.",
            RESULTS,
            errors.results,
        ),
        _category_chart(
            "Keypoints",
            "The labeled keypoints of matched and poorly matched people, by where the matched "
            "result has them.",
            KEYPOINTS,
            errors.keypoints,
        ),
    ]


def _category_chart(
    title: str, note: str, categories: Mapping[str, str], counts: Counter[str]
) -> BarChart:
    total = max(counts.total(), 1)
    bars = [
        Bar(category, f"{counts[category]:,}", counts[category] / total, meaning)
        for category, meaning in categories.items()
    ]
    return BarChart(title, note, bars)
