"""Validation during training: metrics on a dataset, and images of the predictions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.config.data import DataConfig
from higherhrnet.config.header import Header
from higherhrnet.data.dataset import parse_dataset_argument
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.datasets.coco import Annotations, Entry, load_annotations
from higherhrnet.io.datasets.image_folder import find_images
from higherhrnet.io.datasets.image_store import ImageStore, annotated_shape
from higherhrnet.network.build import PoseNetwork
from higherhrnet.poses.keypoint_names import respell
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.visualization.maps import draw_overlays
from higherhrnet.visualization.poses import draw

_MAX_UNREADABLE = 20
"""The number of unreadable images at the beginning after which the dataset is rejected."""
_TILE_HEIGHT, _BORDER = 240, 4
"""Height in pixels of an image in a preview, and of the border above and below it."""


class Validator:
    """A validation dataset, whose images are distributed over the processes.

    Args:
        annotations: the annotations.
        images: the folder or .zip file of the images.
        group: the processes that train together.

    Raises:
        InputError: the images do not exist, or none of the first can be read.
    """

    def __init__(self, annotations: Annotations, images: Path, group: ProcessGroup) -> None:
        self.annotations, self.images, self.group = annotations, images, group
        self._store = ImageStore(images, annotations.file_names)
        _check_readable(annotations, self._store)

    def check_skeleton(self, skeleton: Skeleton) -> None:
        """Checks that a network can be evaluated on this dataset.

        Args:
            skeleton: the skeleton of the network.

        Raises:
            InputError: the network lacks keypoints of the dataset.
        """
        names = respell(self.annotations.skeleton.names, skeleton.names)
        if missing := set(names.values()) - set(skeleton.names):
            raise InputError(
                f"{self.annotations.path}: AP cannot be measured, because the network is not "
                f"trained on these keypoints of the dataset: {', '.join(sorted(missing))}"
            )

    def evaluate(self, network: PoseNetwork, header: Header) -> dict[str, float]:
        """Computes the metrics of a network in evaluation mode.

        Returns:
            The metrics in the main process, and an empty dictionary in the others.
        """
        images = self.annotations.images[self.group.rank :: self.group.size]
        predictor = self._predictor(network, header)
        local_results, _ = predict_dataset(
            predictor,
            replace(self.annotations, images=images),
            self.images,
            progress=self.group.is_main,
        )
        results = self.group.gather(local_results)
        return evaluate_results(self.annotations, results) if self.group.is_main else {}

    def draw_previews(self, network: PoseNetwork, header: Header, count: int) -> Image | None:
        """Draws predictions: in each row annotated poses, predicted poses, heatmaps and tags.

        Args:
            network: the network in evaluation mode.
            header: the header of the network.
            count: the number of images, which are the same at each call.

        Returns:
            The rows as one image; None if there are no images.
        """
        predictor, store = self._predictor(network, header), self._store
        rows = []
        for entry in _select_evenly(self.annotations, count):
            with suppress(InputError):  # `evaluate` has reported images that cannot be read
                image = store.read(str(entry["file_name"]), annotated_shape(entry))
                rows.append(_draw_row(predictor, image, self._annotated_poses(entry["id"])))
        if not rows:
            return None
        width = max(row.shape[1] for row in rows)
        return np.vstack(
            [np.pad(r, ((_BORDER, _BORDER), (0, width - r.shape[1]), (0, 0))) for r in rows]
        )

    def _predictor(self, network: PoseNetwork, header: Header) -> Predictor:
        return Predictor(TorchEngine(network, self.group.device.type), header)

    def _annotated_poses(self, image_id: int | str) -> Poses:
        people = [p for p in self.annotations.people if str(p["image_id"]) == str(image_id)]
        return Poses.from_coco(people, self.annotations.skeleton)


def load_validator(data: DataConfig, group: ProcessGroup) -> Validator | None:
    """Loads the validation dataset, which is the training data if `overfit` is set.

    Returns:
        The dataset; None if the configuration names none.

    Raises:
        InputError: the annotations or images cannot be found or read, or no person in them has
            labeled keypoints.
    """
    dataset = data.train[0] if data.overfit and data.train else data.val
    if dataset is None:
        return None
    path, images, _ = parse_dataset_argument(dataset)
    annotations = load_annotations(path)
    names = annotations.file_names
    if data.overfit:
        annotations = annotations.subset(annotations.labeled_images[: data.overfit])
    annotations.require_people()
    return Validator(annotations, images or find_images(path, names), group)


def _check_readable(annotations: Annotations, store: ImageStore) -> None:
    """Checks before hours of training that the validation images can be read."""
    error = InputError(f"{store.location}: there are no validation images")
    for entry in annotations.images[:_MAX_UNREADABLE]:
        try:
            store.read(str(entry.get("file_name")), annotated_shape(entry))
            return
        except InputError as unreadable:
            error = unreadable
    raise error


def _select_evenly(annotations: Annotations, count: int) -> list[Entry]:
    """Selects images at equal distances, from those with labeled people if there are any."""
    images = annotations.labeled_images or annotations.images
    selected = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [images[index] for index in selected]


def _draw_row(predictor: Predictor, image: Image, annotated: Poses) -> Image:
    preprocessed = predictor.preprocess(image)
    outputs = predictor.forward([preprocessed])[0]
    network_input, maps = predictor.drawable_maps(image, preprocessed, outputs)
    predicted = predictor.postprocess(preprocessed, outputs)
    tiles = [
        draw(image, annotated), draw(image, predicted, min_score=0.1),
        *draw_overlays(network_input, *maps).values(),
    ]  # fmt: skip
    return np.hstack([_resize_to_tile(tile) for tile in tiles])


def _resize_to_tile(image: Image) -> Image:
    size = round(image.shape[1] * _TILE_HEIGHT / image.shape[0]), _TILE_HEIGHT
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
