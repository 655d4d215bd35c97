"""Writes predictions as a CSV table for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from higherhrnet.io.atomic import atomic_path
from higherhrnet.poses.skeleton import Skeleton

COLUMNS = ("image", "frame", "time", "track_id", "score")
"""The first columns; the columns x, y and score of each keypoint follow."""


def write_csv(path: Path, results: Iterable[Mapping[str, Any]], skeleton: Skeleton) -> None:
    """Writes one row per result, that is, per person and image or frame.

    Cells of missing values are empty: `frame`, `time` and `track_id` of people in images, and
    keypoints that were not found.

    Args:
        path: the CSV file.
        results: COCO keypoint results that also have `file_name` and, if they are from a video,
            `frame`, `time` in seconds and, if people were tracked, `track_id`.
        skeleton: names the keypoints.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        keypoints = (f"{name}_{part}" for name in skeleton.names for part in ("x", "y", "score"))
        writer.writerow([*COLUMNS, *keypoints])
        writer.writerows(map(_row, results))


def _row(result: Mapping[str, Any]) -> list[Any]:
    metadata = (result.get(key) for key in ("file_name", "frame", "time", "track_id"))
    return [*metadata, result["score"], *_keypoint_cells(result["keypoints"])]


def _keypoint_cells(triples: list[float]) -> Iterator[float | None]:
    for x, y, score in zip(triples[::3], triples[1::3], triples[2::3], strict=True):
        yield from (x, y, score) if score > 0 else (None, None, None)
