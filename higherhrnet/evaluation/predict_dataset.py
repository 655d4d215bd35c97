"""A model and a data set's photographs → results, read, run and decoded at once, and resumable."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

from tqdm import tqdm

from higherhrnet.errors import InputError
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.stream import FailedSource, FrameResult, predict_stream
from higherhrnet.io.coco import Annotations, Entry
from higherhrnet.io.image_store import ImageStore
from higherhrnet.io.predictions import PredictionWriter
from higherhrnet.io.sources import Frame, Source
from higherhrnet.poses import Poses

_FAILURES = 20
"""When so many cannot be read and none can, it is the wrong folder."""


def predict_dataset(
    predictor: Predictor,
    annotations: Annotations,
    pictures: Path,
    folder: Path | None = None,
    resume: bool = False,
    speaks: bool = True,
) -> tuple[list[Entry], list[str]]:
    """COCO results of a data set's photographs, as they lie in their files, unturned.

    A photograph that cannot be read is reported and left out: its people are then missed.

    Args:
        predictor: finds the people.
        annotations: which photographs.
        pictures: the folder or .zip that they are in.
        folder: where to write the results down as they come; nowhere if not said.
        resume: go on where an earlier run into the same folder stopped.
        speaks: show a bar and what cannot be read.

    Returns:
        The results, and a line for each photograph that could not be read.

    Raises:
        InputError: none of the first photographs can be read, the folder cannot be written to, or
            the annotations do not fit the model or do not name their photographs.
    """
    ids, opened = _ids_by_name(predictor, annotations), ImageStore(pictures)
    failed: list[str] = []
    results: list[Entry] = []

    with (
        PredictionWriter(folder, resume, look=predictor.settings())
        if folder
        else nullcontext() as journal
    ):
        sources = [Source(name, pictures / name) for name in ids]
        left = [source for source in sources if not (journal and journal.holds(source))]
        frames = predict_stream(
            predictor, left, _poses_of, read=lambda source: opened.read(source.name)
        )
        done = len(sources) - len(left)
        quiet = None if speaks else True
        bar = tqdm(frames, total=len(sources), initial=done, unit=" images", disable=quiet)
        for found in bar:
            if isinstance(found, FailedSource):
                if found.read:  # the model or the engine fails, so not this photograph alone
                    raise found.reason
                tqdm.write(f"skipped: {found.reason}", file=sys.stderr)
                failed.append(str(found.reason))
                if len(failed) == min(_FAILURES, len(sources)) and not done:
                    raise InputError(
                        f"{pictures}: the first {len(failed)} photographs cannot be read"
                    )
                continue
            done += 1
            frame, poses = found[0], found[1].of(annotations.skeleton)
            if journal:
                journal.add(frame, poses)
            else:
                name = frame.source.name
                results += poses.to_coco(ids[name], annotations.category_id, file_name=name)
        return list(journal.people()) if journal else results, failed


def _poses_of(found: FrameResult) -> tuple[Frame, Poses]:
    return found.frame, found.poses


def _ids_by_name(predictor: Predictor, annotations: Annotations) -> dict[str, int | str]:
    """The id of each photograph by its file name."""
    path = annotations.path
    theirs, ours = annotations.skeleton.names, predictor.header.skeleton.names
    if missing := [name for name in theirs if name not in ours]:
        raise InputError(
            f"{path}: its keypoints are not the model's, which finds no {', '.join(missing)}"
        )
    if any("file_name" not in image for image in annotations.images):
        raise InputError(f"{path}: not every image has a file_name to find it by")
    names = Counter(str(image["file_name"]) for image in annotations.images)
    if twice := [name for name, times in names.items() if times > 1]:
        raise InputError(f"{path}: several images have the file_name {twice[0]}")
    return {str(image["file_name"]): image["id"] for image in annotations.images}
