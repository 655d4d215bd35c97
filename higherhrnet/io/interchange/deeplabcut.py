"""Writes predictions of tracked videos as DeepLabCut's tables of several animals."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path

import numpy as np

from higherhrnet.errors import require, require_packages
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.interchange.predicted_images import PredictedImage, PredictedImages

SCORER = "higherhrnet"
"""The name in the first level of the columns, where DeepLabCut has that of its network."""
_MAX_COLUMNS = 16384
"""Number of columns that spreadsheets can have."""


def write_deeplabcut(folder: Path, images: PredictedImages) -> list[str]:
    """Writes `VIDEO.csv` for each video, with a row for each frame.

    The columns have four levels: scorer, individual (`person1`, where 1 is the track ID), keypoint,
    and x, y or likelihood. Cells of people and keypoints that were not found are empty.

    Args:
        folder: the output folder.
        images: the predictions. Images are omitted, since they are not tracked.

    Returns:
        Notes on what was omitted.

    Raises:
        InputError: people were not tracked, or a file cannot be written.
    """
    notes = []
    track_ids = {name: _track_ids(name, frames) for name, frames in images.videos()}
    names = images.skeleton.names
    for name, frames in images.videos():
        if 3 * len(names) * len(track_ids[name]) > _MAX_COLUMNS:
            notes.append(
                f"deeplabcut: omitted {name}, since it has {len(track_ids[name])} track IDs; a "
                f"table has at most {_MAX_COLUMNS} columns, three for each keypoint of each person"
            )
            continue
        with (
            atomic_path(folder / f"{name}.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerows(_header(track_ids[name], names))
            writer.writerows(_row(frame, track_ids[name]) for frame in frames)
    if omitted := sum(image.frame is None for image in images):
        notes.append(f"deeplabcut: images are not tracked, omitted: {omitted}")
    return notes


def write_deeplabcut_hdf5(folder: Path, images: PredictedImages) -> list[str]:
    """Writes the tables of `write_deeplabcut` also as `VIDEO.h5`, as DeepLabCut itself does.

    Raises:
        InputError: pandas or PyTables is not installed; see also `write_deeplabcut`.
    """
    require_packages("DeepLabCut's HDF5 format", "hdf5", "pandas", "tables")
    import pandas

    notes = write_deeplabcut(folder, images)
    for name, _ in images.videos():
        table = folder / f"{name}.csv"
        if not table.is_file():
            continue
        frame = pandas.read_csv(table, header=[0, 1, 2, 3], index_col=0)
        with atomic_path(table.with_name(f"{table.name.removesuffix('.csv')}.h5")) as temporary:
            frame.to_hdf(temporary, key="df_with_missing", mode="w")
    return notes


def _track_ids(name: str, frames: Iterator[PredictedImage]) -> list[int]:
    """Returns the track IDs of a video in ascending order."""
    found: set[int] = set()
    for frame in frames:
        if len(frame.poses):
            require(
                frame.poses.track_ids is not None,
                f"{name}: DeepLabCut's tables need the track IDs of people; add --track",
            )
            found.update(np.asarray(frame.poses.track_ids).tolist())
    return sorted(found)


def _header(track_ids: list[int], keypoints: tuple[str, ...]) -> Iterator[list[str]]:
    people = [f"person{track_id}" for track_id in track_ids]
    columns = list(product(people, keypoints, ("x", "y", "likelihood")))
    yield ["scorer", *[SCORER] * len(columns)]
    for level, title in enumerate(("individuals", "bodyparts", "coords")):
        yield [title, *(column[level] for column in columns)]


def _row(image: PredictedImage, track_ids: list[int]) -> list[float | int | None]:
    missing = [None] * (3 * len(image.poses.skeleton))
    rows = dict.fromkeys(track_ids, missing)
    for result, found in zip(image.poses.to_coco(0), image.poses.found, strict=True):
        cells = zip(result["keypoints"], np.repeat(found, 3), strict=True)
        rows[result["track_id"]] = [value if is_found else None for value, is_found in cells]
    return [image.frame, *chain.from_iterable(rows.values())]
