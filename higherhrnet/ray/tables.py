"""The folder of a run: three tables in Parquet, a file of each for a unit of work.

people/    a row a person: image, person (from 0), score, keypoints by name, box
images/    a row an image that was looked at, whoever was in it: image, width, height, people
failed/    a row an image that could not be: image, reason
look.json  how they were looked at
run        who may write here: the latest run, in its latest round

A unit has a file in each table, the one in `images` written last: without it the unit was not done.
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
from numpy.typing import NDArray
from pyarrow import fs

from higherhrnet.errors import InputError, require
from higherhrnet.io.predictions import SETTINGS_FILE
from higherhrnet.poses import Poses
from higherhrnet.ray.paths import Location
from higherhrnet.skeleton import Skeleton

PEOPLE, IMAGES, FAILED = "people", "images", "failed"
_RUN = "run"
_OURS = re.compile(r"[0-9a-f]{16}\.parquet|\.[0-9a-f]{16}\.[0-9a-f]{8}\.part")


@dataclass(frozen=True)
class ProcessedImage:
    """An image that was looked at."""

    image: str
    size: tuple[int, int]
    """Height and width."""
    poses: Poses


def begin_run(out: Location, look: Mapping[str, Any], resume: bool) -> str:
    """Makes the folder ready: what was cut off is removed, and what failed is to be tried again.

    Args:
        out: the folder.
        look: the model and how it looks at pictures, in plain values.
        resume: go on with what the folder holds.

    Returns:
        The name of this run: what an earlier one still writes is refused from now on.

    Raises:
        InputError: the folder holds a run that is not to be gone on with, or one that looked at
            pictures otherwise, or files of others; or it cannot be written to.
    """
    text, name, run = json.dumps(look, indent=1) + "\n", f"{out.scheme}{out.path}", token_hex(8)
    try:
        for kind in (PEOPLE, IMAGES, FAILED):
            out.files.create_dir(f"{out.path}/{kind}")
            for info in _files(out, kind):
                ours = info.is_file and _OURS.fullmatch(info.base_name)
                require(bool(ours), f"{out.scheme}{info.path}: is none of ours; take another --out")
        if any(not info.base_name.startswith(".") for info in _files(out, IMAGES)):
            require(resume, f"{name} holds a run: --resume goes on with it, or take another --out")
            with out.files.open_input_file(f"{out.path}/{SETTINGS_FILE}") as file:
                same = file.read().decode() == text
            require(same, f"{name}: made with another model or settings; take another --out")
        _write_text(out, _RUN, run)
        _write_text(out, SETTINGS_FILE, text)
        for info in _files(out, FAILED):
            out.files.delete_file(info.path)
        return remove_incomplete(out, run)
    except OSError as error:
        raise InputError(f"{name}: cannot be written to: {error}") from error


def remove_incomplete(out: Location, run: str) -> str:
    """Removes what units that did not come to their end have written.

    Args:
        out: the folder.
        run: which asks.

    Returns:
        The name under which the run goes on: what still works on such a unit is refused.

    Raises:
        InputError: a later run has begun in this folder.
    """
    _check_latest(out, run)
    run = token_hex(8)
    _write_text(out, _RUN, run)
    whole = {f.base_name for f in _files(out, IMAGES) if not f.base_name.startswith(".")}
    for kind in (PEOPLE, IMAGES, FAILED):
        for info in _files(out, kind):
            if info.base_name not in whole:
                out.files.delete_file(info.path)
    return run


def completed_images(out: Location) -> frozenset[str]:
    """The names of the images that this run or an earlier one is done with."""
    tables = (_read(out, kind, image=pa.string()) for kind in (IMAGES, FAILED))
    return frozenset(name for table in tables for name in table["image"].to_pylist())


def count_results(out: Location) -> tuple[int, int]:
    """How many images were looked at, and how many people were found."""
    people = _read(out, IMAGES, people=pa.int32())["people"].to_numpy()
    return len(people), int(people.sum())


def failures(out: Location) -> list[str]:
    """Which images could not be looked at, and why."""
    rows = _read(out, FAILED, image=pa.string(), reason=pa.string()).to_pylist()
    return [f"{row['image']}: {row['reason']}" for row in rows]


def write_shard(
    out: Location,
    run: str,
    paths: Sequence[str],
    seen: Sequence[ProcessedImage],
    failed: Mapping[str, str],
    skeleton: Skeleton,
) -> None:
    """Writes what became of a unit's images.

    Args:
        out: the folder.
        run: which writes.
        paths: those of the unit, by which its files are named.
        seen: what was looked at.
        failed: the others, and why they were not.
        skeleton: of the people.

    Raises:
        InputError: a later run has begun in this folder.
    """
    unit = hashlib.sha256("\n".join(paths).encode("utf-8", "replace")).hexdigest()[:16]
    _write(out, PEOPLE, unit, _people(seen, skeleton))
    reasons = {"image": list(failed), "reason": list(failed.values())}
    texts = {name: pa.array(column, pa.string()) for name, column in reasons.items()}
    _write(out, FAILED, unit, pa.table(texts))
    sizes = np.array([one.size for one in seen], np.int32).reshape(-1, 2)
    columns = {
        "image": pa.array([one.image for one in seen], pa.string()),
        "width": sizes[:, 1],
        "height": sizes[:, 0],
        "people": np.array([len(one.poses) for one in seen], np.int32),
    }
    _check_latest(out, run)
    _write(out, IMAGES, unit, pa.table(columns))


def _check_latest(out: Location, run: str) -> None:
    with out.files.open_input_file(f"{out.path}/{_RUN}") as file:
        latest = file.read().decode() == run
    require(latest, f"{out.scheme}{out.path}: another run has begun to write there")


def _write_text(out: Location, name: str, text: str) -> None:
    with out.files.open_output_stream(f"{out.path}/{name}") as file:
        file.write(text.encode())


def _people(seen: Sequence[ProcessedImage], skeleton: Skeleton) -> pa.Table:
    none = Poses.from_coco([], skeleton)
    poses = [none, *(one.poses for one in seen)]
    places = np.concatenate([np.dstack([p.keypoints, p.keypoint_scores]) for p in poses])
    keypoints = [_struct(places[:, k], "x", "y", "score") for k in range(len(skeleton))]
    columns = {
        "image": pa.array([one.image for one in seen for _ in one.poses], pa.string()),
        "person": np.concatenate([np.arange(len(p), dtype=np.int32) for p in poses]),
        "score": np.concatenate([p.scores for p in poses]),
        "keypoints": pa.StructArray.from_arrays(keypoints, skeleton.names),
        "box": _struct(np.concatenate([p.boxes for p in poses]), "x", "y", "width", "height"),
    }
    return pa.table(columns)


def _struct(values: NDArray[np.float32], *names: str) -> pa.StructArray:
    """(N, F) values → N structs of F named values."""
    return pa.StructArray.from_arrays([pa.array(column) for column in values.T], names)


def _write(out: Location, kind: str, unit: str, table: pa.Table) -> None:
    path = beside = f"{out.path}/{kind}/{unit}.parquet"
    if not out.scheme:  # an object store shows nothing of a file before all of it is there
        beside = f"{out.path}/{kind}/.{unit}.{token_hex(4)}.part"
    parquet.write_csv(table, beside, filesystem=out.files)
    if beside != path:
        out.files.move(beside, path)


def _files(out: Location, kind: str) -> list[fs.FileInfo]:
    folder = fs.FileSelector(f"{out.path}/{kind}", allow_not_found=True)
    return list(out.files.get_file_info(folder))


def _read(out: Location, kind: str, **columns: pa.DataType) -> pa.Table:
    paths = [info.path for info in _files(out, kind) if not info.base_name.startswith(".")]
    return datasets.dataset(paths, pa.schema(columns), "parquet", out.files).to_table()
