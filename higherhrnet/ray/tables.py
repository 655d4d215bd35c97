"""The output folder of a run: three tables of Parquet files, with one file of each for a shard.

people/        one row for each person: image, person (from 0), score, keypoints by name, box
images/        one row for each image that was processed: image, width, height, people
failed/        one row for each image that was not: image, reason
settings.json  the model and the inference settings
run            an identifier of the latest run and pass, which alone may write into the folder

The file of a shard in `images` is written last; without it the shard is incomplete.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as datasets
import pyarrow.parquet as parquet
from pyarrow import fs

from higherhrnet.arrays import FloatArray
from higherhrnet.errors import InputError, require
from higherhrnet.io.predictions import SETTINGS_FILE
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.ray.paths import Location

PEOPLE, IMAGES, FAILED = "people", "images", "failed"
_RUN_FILE = "run"
_SHARD_FILE = re.compile(r"[0-9a-f]{16}\.parquet|\.[0-9a-f]{16}\.[0-9a-f]{8}\.part")


@dataclass(frozen=True)
class ProcessedImage:
    """The result of an image."""

    image: str
    """The path or URI."""
    size: tuple[int, int]
    """Height and width in pixels."""
    poses: Poses


def begin_run(out: Location, settings: Mapping[str, Any], resume: bool) -> str:
    """Prepares the output folder of a run.

    Files of incomplete shards are removed, and images that failed before will be tried again.

    Args:
        out: the folder; it is created if necessary.
        settings: the model and the inference settings, as plain JSON values.
        resume: continue an earlier run into the folder.

    Returns:
        The identifier of the run. Actors of earlier runs can no longer write into the folder.

    Raises:
        InputError: the folder contains a run and `resume` is not set, a run with other settings, or
            other files; or it cannot be written to.
    """
    text, run = json.dumps(settings, indent=1) + "\n", token_hex(8)
    try:
        for table in (PEOPLE, IMAGES, FAILED):
            out.filesystem.create_dir(f"{out.path}/{table}")
            for info in _list_files(out, table):
                require(
                    info.is_file and bool(_SHARD_FILE.fullmatch(info.base_name)),
                    f"{out.scheme}{info.path}: not a file of predict-ray; choose another --out",
                )
        if any(not info.base_name.startswith(".") for info in _list_files(out, IMAGES)):
            require(
                resume,
                f"--out {out.uri}: contains an earlier run; continue it with --resume or choose "
                "another --out",
            )
            require(
                _read_text(out, SETTINGS_FILE) == text,
                f"--out {out.uri}: made with another model or other inference settings; use the "
                "same or choose another --out",
            )
        _write_text(out, _RUN_FILE, run)
        _write_text(out, SETTINGS_FILE, text)
        for info in _list_files(out, FAILED):
            out.filesystem.delete_file(info.path)
        return remove_incomplete(out, run)
    except OSError as error:
        raise InputError(f"--out {out.uri}: cannot be used: {error}") from error


def remove_incomplete(out: Location, run: str) -> str:
    """Removes the files of incomplete shards.

    Args:
        out: the output folder.
        run: the identifier of the run.

    Returns:
        A new identifier of the run. Actors that still work on an incomplete shard can no longer
        write into the folder.

    Raises:
        InputError: another run has begun in this folder.
    """
    _check_latest(out, run)
    run = token_hex(8)
    _write_text(out, _RUN_FILE, run)
    complete = {f.base_name for f in _list_files(out, IMAGES) if not f.base_name.startswith(".")}
    for table in (PEOPLE, IMAGES, FAILED):
        for info in _list_files(out, table):
            if info.base_name not in complete:
                out.filesystem.delete_file(info.path)
    return run


def completed_images(out: Location) -> frozenset[str]:
    """Returns the paths or URIs of the images in complete shards, failed ones included."""
    tables = (_read(out, name, image=pa.string()) for name in (IMAGES, FAILED))
    return frozenset(image for table in tables for image in table["image"].to_pylist())


def count_results(out: Location) -> tuple[int, int]:
    """Returns the number of images that were processed, and the number of people in them."""
    people = _read(out, IMAGES, people=pa.int32())["people"].to_numpy()
    return len(people), int(people.sum())


def failure_messages(out: Location) -> list[str]:
    """Returns the path or URI of each image that failed, and the reason."""
    rows = _read(out, FAILED, image=pa.string(), reason=pa.string()).to_pylist()
    return [f"{row['image']}: {row['reason']}" for row in rows]


def write_shard(
    out: Location,
    run: str,
    paths: Sequence[str],
    processed: Sequence[ProcessedImage],
    failed: Mapping[str, str],
    skeleton: Skeleton,
) -> None:
    """Writes the results of a shard.

    Args:
        out: the output folder.
        run: the identifier of the run.
        paths: the images of the shard, from which the names of its files are derived.
        processed: the results.
        failed: the reasons why images failed, by path or URI.
        skeleton: the skeleton of the poses.

    Raises:
        InputError: another run has begun in this folder.
    """
    shard = hashlib.sha256("\n".join(paths).encode("utf-8", "replace")).hexdigest()[:16]
    _write(out, PEOPLE, shard, _people_table(processed, skeleton))
    reasons = {"image": list(failed), "reason": list(failed.values())}
    texts = {name: pa.array(column, pa.string()) for name, column in reasons.items()}
    _write(out, FAILED, shard, pa.table(texts))
    sizes = np.array([image.size for image in processed], np.int32).reshape(-1, 2)
    columns = {
        "image": pa.array([image.image for image in processed], pa.string()),
        "width": sizes[:, 1],
        "height": sizes[:, 0],
        "people": np.array([len(image.poses) for image in processed], np.int32),
    }
    _check_latest(out, run)
    _write(out, IMAGES, shard, pa.table(columns))


def _check_latest(out: Location, run: str) -> None:
    latest = _read_text(out, _RUN_FILE) == run
    require(latest, f"--out {out.uri}: another run has begun to write into this folder")


def _read_text(out: Location, name: str) -> str:
    with out.filesystem.open_input_file(f"{out.path}/{name}") as file:
        return str(file.read().decode())


def _write_text(out: Location, name: str, text: str) -> None:
    with out.filesystem.open_output_stream(f"{out.path}/{name}") as file:
        file.write(text.encode())


def _people_table(processed: Sequence[ProcessedImage], skeleton: Skeleton) -> pa.Table:
    no_poses = Poses.from_coco([], skeleton)
    poses = [no_poses, *(image.poses for image in processed)]
    triples = np.concatenate([np.dstack([p.keypoints, p.keypoint_scores]) for p in poses])
    keypoints = [_structs(triples[:, k], "x", "y", "score") for k in range(len(skeleton))]
    columns = {
        "image": pa.array([image.image for image in processed for _ in image.poses], pa.string()),
        "person": np.concatenate([np.arange(len(p), dtype=np.int32) for p in poses]),
        "score": np.concatenate([p.scores for p in poses]),
        "keypoints": pa.StructArray.from_arrays(keypoints, skeleton.names),
        "box": _structs(np.concatenate([p.boxes for p in poses]), "x", "y", "width", "height"),
    }
    return pa.table(columns)


def _structs(values: FloatArray, *names: str) -> pa.StructArray:
    """Converts (N, F) values to N structs of F named values."""
    return pa.StructArray.from_arrays([pa.array(column) for column in values.T], names)


def _write(out: Location, table: str, shard: str, rows: pa.Table) -> None:
    path = temporary = f"{out.path}/{table}/{shard}.parquet"
    if not out.scheme:  # an object store shows a file only when it is complete
        temporary = f"{out.path}/{table}/.{shard}.{token_hex(4)}.part"
    parquet.write_table(rows, temporary, filesystem=out.filesystem)
    if temporary != path:
        out.filesystem.move(temporary, path)


def _list_files(out: Location, table: str) -> list[fs.FileInfo]:
    folder = fs.FileSelector(f"{out.path}/{table}", allow_not_found=True)
    return list(out.filesystem.get_file_info(folder))


def _read(out: Location, table: str, **columns: pa.DataType) -> pa.Table:
    paths = [info.path for info in _list_files(out, table) if not info.base_name.startswith(".")]
    return datasets.dataset(paths, pa.schema(columns), "parquet", out.filesystem).to_table()
