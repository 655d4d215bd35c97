"""Annotations + results → a folder with a page: figures, curves, mistakes, worst photographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from higherhrnet.annotations import Annotations
from higherhrnet.evaluation import page
from higherhrnet.evaluation.comparison import Comparison, compare
from higherhrnet.evaluation.crowding import crowd_indices, say_computed
from higherhrnet.evaluation.curves import AREAS, Curves, trace
from higherhrnet.evaluation.figures import figures_of, format_figure, table_of
from higherhrnet.evaluation.mistakes import KEYPOINTS, PEOPLE, RESULTS, find_mistakes, in_all
from higherhrnet.evaluation.similarity import is_judged
from higherhrnet.evaluation.worst import draw_worst
from higherhrnet.files import replacing

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
    comparison = compare(annotations, results)
    curves, mistakes = trace(comparison), find_mistakes(comparison)
    kinds = in_all(mistakes)
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
    with replacing(target) as beside:
        beside.write_text(page.page(title, sections), encoding="utf-8")
    return target


def _figures(comparison: Comparison) -> str:
    heads, (precision, recall) = table_of(figures_of(comparison))
    images, people = len(comparison.images), comparison.annotations.num_people
    return page.section(
        "Figures",
        f"{images:,} images, {people:,} people, {len(comparison.found):,} results.",
        page.table(heads, {"precision (AP)": precision, "recall (AR)": recall}),
    )


def _by_size(curves: Mapping[str, Curves], comparison: Comparison) -> str:
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


def _by_crowding(comparison: Comparison) -> str:
    indices = crowd_indices(comparison)
    rows = []
    for low, high in zip(CROWDING, (*CROWDING[1:], float("inf")), strict=True):
        images = [number for number, index in enumerate(indices) if low <= index < high]
        name = f"{low:g} to {high:g}" if high < 1 else f"{low:g} to 1"
        rows.append(_bar(name, trace(comparison, images)["all"], f"{len(images):,} images"))
    return page.section(
        "By crowding",
        "AP over the images of each crowd index: how many of others' keypoints lie in a person's "
        "box for each of their own, on average over the people. "
        f"{say_computed(comparison.images)}",
        page.bars(rows),
    )


def _bar(name: str, curves: Curves, note: str) -> tuple[str, str, float, str]:
    return name, format_figure(curves.ap()), curves.ap(), note


def _counted(title: str, note: str, kinds: Mapping[str, str], counts: Counter[str]) -> str:
    whole = max(counts.total(), 1)
    rows = [
        (kind, f"{counts[kind]:,}", counts[kind] / whole, meaning)
        for kind, meaning in kinds.items()
    ]
    return page.section(title, note, page.bars(rows))
