"""Runs a model on the images of a dataset; interrupted runs can be resumed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tqdm import tqdm

from higherhrnet.errors import InputError
from higherhrnet.inference.frames import FailedSource, FrameResult
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.stream import predict_stream
from higherhrnet.io.datasets.coco import Annotations, Entry
from higherhrnet.io.datasets.image_store import ImageStore, annotated_shape
from higherhrnet.io.predictions import PredictionWriter
from higherhrnet.io.sources import Frame, Source
from higherhrnet.poses.keypoint_names import respell
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton

MAX_INITIAL_FAILURES = 20
"""The number of unreadable images at the beginning after which a run ends with an error."""


def predict_dataset(
    predictor: Predictor,
    annotations: Annotations,
    images: Path,
    folder: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[list[Entry], list[str]]:
    """Predicts the poses in the images of a dataset.

    The stored pixels of the images are used, or the image that their EXIF orientation requires if
    that has the annotated size, as `ImageStore.read` describes. An image that cannot be read or has
    another size than annotated is skipped.

    Args:
        predictor: predicts the poses.
        annotations: the dataset; only its skeleton and its list of images are used.
        images: the folder or .zip file of the images.
        folder: the folder into which predictions are written as they are made; None for none.
        resume: continue an earlier run into the same folder.
        progress: whether to show a progress bar. Skipped images are always reported.

    Returns:
        The COCO keypoint results, and a message for each image that could not be read.

    Raises:
        InputError: none of the first images can be read, the folder cannot be written to, the model
            lacks a keypoint of the annotations, or the images have no unique file names.
    """
    skeleton = _require_keypoints(predictor, annotations)
    image_ids = _ids_by_file_name(annotations)
    store = ImageStore(images, annotations.file_names)
    shapes = {str(image["file_name"]): annotated_shape(image) for image in annotations.images}
    sources = [Source(name, images / name) for name in image_ids]
    results: list[Entry] = []
    failures: list[str] = []
    with (
        PredictionWriter(folder, predictor.settings(), resume=resume)
        if folder
        else nullcontext() as writer
    ):
        if writer:
            _require_same_images(writer, sources)
        remaining = [source for source in sources if not (writer and writer.contains(source))]
        completed = len(sources) - len(remaining)
        predictions = predict_stream(
            predictor,
            remaining,
            _frame_and_poses,
            read=lambda source: store.read(source.name, shapes[source.name]),
            keep_images=False,
        )
        for prediction in tqdm(
            predictions,
            total=len(sources),
            initial=completed,
            unit=" images",
            disable=None if progress else True,
        ):
            if isinstance(prediction, FailedSource):
                failures.append(_skip(prediction))
                if not completed and len(failures) == min(MAX_INITIAL_FAILURES, len(sources)):
                    raise InputError(
                        f"{images}: the first {len(failures)} images cannot be read; the last of "
                        f"these errors: {failures[-1]}"
                    )
                continue
            completed += 1
            frame, poses = prediction[0], prediction[1].with_skeleton(skeleton)
            if writer:
                writer.add(frame, poses)
            else:
                name = frame.source.name
                results += poses.to_coco(image_ids[name], annotations.category_id, file_name=name)
        return list(writer.results()) if writer else results, failures


def _require_same_images(writer: PredictionWriter, sources: Sequence[Source]) -> None:
    """Raises InputError if the resumed run has processed other files of the same names."""
    for source, renamed in zip(sources, writer.with_recorded_names(sources), strict=True):
        if source.name != renamed.name:
            raise InputError(
                f"{writer.folder}: --resume is not possible, since its predictions are those of "
                f"another file {source.name}, not of {source.origin}; choose another folder"
            )


def _frame_and_poses(result: FrameResult) -> tuple[Frame, Poses]:
    return result.frame, result.poses


def _skip(failed: FailedSource) -> str:
    """Reports an image that cannot be read; raises the error of one on which the engine failed."""
    if failed.was_read:
        raise failed.reason
    tqdm.write(f"skipped: {failed.reason}", file=sys.stderr)
    return str(failed.reason)


def _require_keypoints(predictor: Predictor, annotations: Annotations) -> Skeleton:
    """Returns the skeleton of the annotations with the model's spelling of the names."""
    names, model_names = annotations.skeleton.names, predictor.header.skeleton.names
    spelling = respell(names, model_names)
    if missing := [name for name in names if spelling[name] not in model_names]:
        raise InputError(
            f"{annotations.path}: has keypoints that the model does not predict: "
            f"{', '.join(missing)}"
        )
    return annotations.skeleton.renamed(spelling)


def _ids_by_file_name(annotations: Annotations) -> dict[str, int | str]:
    path = annotations.path
    if any("file_name" not in image for image in annotations.images):
        raise InputError(f"{path}: images without file_name; every image needs one")
    counts = Counter(str(image["file_name"]) for image in annotations.images)
    name, count = counts.most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: {count} images have the same file_name, {name}")
    return {str(image["file_name"]): image["id"] for image in annotations.images}
