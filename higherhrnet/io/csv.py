"""Predictions as a table for spreadsheets: one row a person and frame, comma-separated."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from higherhrnet.io.atomic import atomic_path
from higherhrnet.skeleton import Skeleton

FACTS = ("image", "frame", "time", "track", "score")
"""The first columns; x, y and score of each keypoint follow."""


def write_csv(path: Path, people: Iterable[Mapping[str, Any]], skeleton: Skeleton) -> None:
    """Writes a person a row: what there is not, such as a keypoint not found, is an empty cell.

    Args:
        path: of the file.
        people: COCO keypoint results, with `file_name` and, of videos, `frame`, `time` in seconds
            and `track_id`.
        skeleton: names their keypoints.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        points = (f"{name}_{part}" for name in skeleton.names for part in ("x", "y", "score"))
        writer.writerow([*FACTS, *points])
        writer.writerows(map(_row, people))


def _row(person: Mapping[str, Any]) -> list[Any]:
    facts = (person.get(name) for name in ("file_name", "frame", "time", "track_id"))
    return [*facts, person["score"], *_cells(person["keypoints"])]


def _cells(triples: list[float]) -> Iterator[float | None]:
    for x, y, score in zip(triples[::3], triples[1::3], triples[2::3], strict=True):
        yield from (x, y, score) if score > 0 else (None, None, None)
