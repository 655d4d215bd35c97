"""Annotations + results → a folder with a page: figures, curves, mistakes, worst photographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from higherhrnet.evaluation import html as page
from higherhrnet.evaluation.crowd_index import crowd_index_note, crowd_indices
from higherhrnet.evaluation.error_analysis import (
    KEYPOINTS,
    PEOPLE,
    RESULTS,
    analyze_errors,
    total_errors,
)
from higherhrnet.evaluation.keypoint_similarity import is_judged
from higherhrnet.evaluation.metrics import compute_metrics, format_metric, metric_table
from higherhrnet.evaluation.pairing import PairedResults, pair_results
from higherhrnet.evaluation.precision_recall import AREAS, PrecisionRecall, precision_recall_by_area
from higherhrnet.evaluation.worst_images import draw_worst
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.coco import Annotations

CROWDING = (0.0, 0.1, 0.2, 0.5, 0.8)
"""Crowd indices at which the bins begin."""


def write_report(
    folder: Path,
    annotations: Annotations,
    results: Sequence[Mapping[str, Any]],
    pictures: Path | None = None,
    title: str = "Evaluation",
) -> Path:
    """Writes `index.html`, with the worst photographs beside it, and returns its path.

    Args:
        folder: made if need be.
        annotations: the truth.
        results: as `load_predictions` gives them.
        pictures: the folder or .zip of the photographs; without it none are drawn.
        title: of the page.

    Raises:
        InputError: the results do not fit the annotations, or the folder cannot be written to.
    """
    comparison = pair_results(annotations, results)
    curves, mistakes = precision_recall_by_area(comparison), analyze_errors(comparison)
    kinds = total_errors(mistakes)
    sections = [
        _figures(comparison),
        page.section(
            "Precision and recall",
            "Precision: how many of the results are right. Recall: how many of the people have "
            "one. A line for each Object Keypoint Similarity (OKS) from which a result is right, "
            "with its average precision (AP) in the key.",
            page.precision_recall(curves["all"]),
        ),
        _by_size(curves, comparison),
        _by_crowding(comparison),
        _counted("People", "What became of each labelled person.", PEOPLE, kinds.people),
        _counted("Results", "What each of an image's 20 best results is.", RESULTS, kinds.results),
        _counted(
            "Keypoints",
            "Where the labelled keypoints of the people with a result of their own were found.",
            KEYPOINTS,
            kinds.keypoints,
        ),
        draw_worst(folder, comparison, mistakes, pictures),
    ]
    target = folder / "index.html"
    with atomic_path(target) as beside:
        beside.write_text(page.page(title, sections), encoding="utf-8")
    return target


def _figures(comparison: PairedResults) -> str:
    heads, (precision, recall) = metric_table(compute_metrics(comparison))
    images, people = len(comparison.images), comparison.annotations.num_people
    return page.section(
        "Figures",
        f"{images:,} images, {people:,} people, {len(comparison.found):,} results.",
        page.table(heads, {"precision (AP)": precision, "recall (AR)": recall}),
    )


def _by_size(curves: Mapping[str, PrecisionRecall], comparison: PairedResults) -> str:
    areas = [person["area"] for person in comparison.people if is_judged(person)]
    rows = []
    for name, (low, high) in list(AREAS.items())[1:]:
        count = sum(low <= area <= high for area in areas)
        rows.append(_bar(name, curves[name], f"{count:,} people"))
    return page.section(
        "By size of the person",
        "AP for people of less than 32², up to 96², and more square pixels. Many data sets, COCO "
        "among them, label no keypoints of small people.",
        page.bars(rows),
    )


def _by_crowding(comparison: PairedResults) -> str:
    indices = crowd_indices(comparison)
    rows = []
    for low, high in zip(CROWDING, (*CROWDING[1:], float("inf")), strict=True):
        images = [number for number, index in enumerate(indices) if low <= index < high]
        name = f"{low:g} to {high:g}" if high < 1 else f"{low:g} to 1"
        rows.append(
            _bar(
                name, precision_recall_by_area(comparison, images)["all"], f"{len(images):,} images"
            )
        )
    return page.section(
        "By crowding",
        "AP over the images of each crowd index: how many of others' keypoints lie in a person's "
        "box for each of their own, on average over the people. "
        f"{crowd_index_note(comparison.images)}",
        page.bars(rows),
    )


def _bar(name: str, curves: PrecisionRecall, note: str) -> tuple[str, str, float, str]:
    return name, format_metric(curves.ap()), curves.ap(), note


def _counted(title: str, note: str, kinds: Mapping[str, str], counts: Counter[str]) -> str:
    whole = max(counts.total(), 1)
    rows = [
        (kind, f"{counts[kind]:,}", counts[kind] / whole, meaning)
        for kind, meaning in kinds.items()
    ]
    return page.section(title, note, page.bars(rows))
