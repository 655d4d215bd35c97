"""The network as it is → AP on the validation set, and pictures of what it sees."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.config import Header
from higherhrnet.data.dataset import parse_source
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.coco import Annotations, Entry, load_annotations
from higherhrnet.io.image_store import ImageStore, find_images
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.poses import Poses
from higherhrnet.recipes import DataConfig
from higherhrnet.skeleton import Skeleton
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.visualization.maps import draw_heatmaps, draw_tags
from higherhrnet.visualization.poses import draw

_TRIES = 20
"""Photographs that may be unreadable before none is taken to be."""
_HEIGHT = 240
"""Pixels of a drawn photograph."""


class Validator:
    """A data set to measure on, shared out among the processes.

    Args:
        annotations: the truth.
        pictures: where its photographs are.
        world: the processes.

    Raises:
        InputError: there are no such pictures, or none of the first can be read.
    """

    def __init__(self, annotations: Annotations, pictures: Path, world: ProcessGroup) -> None:
        self.annotations, self.pictures, self.world = annotations, pictures, world
        _check_readable(annotations, ImageStore(pictures))

    def measure(self, network: HigherHRNet, header: Header) -> dict[str, float]:
        """COCO's figures of a network in evaluation mode; in the first process only, else none."""
        mine = self.annotations.images[self.world.rank :: self.world.size]
        share = replace(self.annotations, images=mine)
        predictor = self._predictor(network, header)
        found, _ = predict_dataset(predictor, share, self.pictures, speaks=self.world.first)
        results = self.world.gather(found)
        return evaluate_results(self.annotations, results) if self.world.first else {}

    def draw(self, network: HigherHRNet, header: Header, count: int) -> Image | None:
        """A row a photograph: the truth, the people found, the heatmaps and the tags.

        Args:
            network: in evaluation mode.
            header: what it is.
            count: photographs, the same every time; None of them gives no picture.
        """
        predictor, pictures = self._predictor(network, header), ImageStore(self.pictures)
        rows = []
        for image in _spread(self.annotations, count):
            with suppress(InputError):  # one that cannot be read was reported when measuring
                picture = pictures.read(image["file_name"])
                rows.append(_row(predictor, picture, self._truth(image["id"])))
        if not rows:
            return None
        width = max(row.shape[1] for row in rows)
        return np.vstack([np.pad(r, ((4, 4), (0, width - r.shape[1]), (0, 0))) for r in rows])

    def _predictor(self, network: HigherHRNet, header: Header) -> Predictor:
        return Predictor(TorchEngine(network, self.world.device.type), header)

    def _truth(self, image: int | str) -> Poses:
        people = [p for p in self.annotations.people if str(p["image_id"]) == str(image)]
        return Poses.from_coco(people, self.annotations.skeleton)


def load_validator(data: DataConfig, skeleton: Skeleton, world: ProcessGroup) -> Validator | None:
    """The validation set that a training names; of `overfit` what is trained on; else None.

    Raises:
        InputError: it cannot be found or understood, or has other keypoints than the network will.
    """
    text = data.train[0] if data.overfit and data.train else data.val
    if text is None:
        return None
    path, pictures, _ = parse_source(text)
    pictures = pictures or find_images(path)
    annotations = load_annotations(path)
    if missing := set(annotations.skeleton.names) - set(skeleton.names):
        raise InputError(
            f"{path}: AP cannot be measured there, since the network does not learn its "
            f"{', '.join(sorted(missing))}"
        )
    if data.overfit:
        annotations = annotations.subset(annotations.labeled_images[: data.overfit])
    return Validator(annotations, pictures, world)


def _check_readable(annotations: Annotations, pictures: ImageStore) -> None:
    """Finds out before hours of training whether there will be anything to measure on."""
    reason = InputError(f"{pictures.location}: no photograph to measure on")
    for image in annotations.images[:_TRIES]:
        try:
            pictures.read(str(image.get("file_name")))
            return
        except InputError as error:
            reason = error
    raise reason


def _spread(annotations: Annotations, count: int) -> list[Entry]:
    """Photographs with people from all over the data set, the same every time."""
    images = annotations.labeled_images or annotations.images
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [images[index] for index in chosen]


def _row(predictor: Predictor, image: Image, truth: Poses) -> Image:
    prepared = predictor.preprocess(image)
    outputs = predictor.forward([prepared])[0]
    seen, heatmaps, tags = predictor.drawable_maps(image, prepared, outputs)
    found = predictor.postprocess(prepared, outputs)
    tiles = [
        draw(image, truth), draw(image, found, min_score=0.1),
        draw_heatmaps(seen, heatmaps), draw_tags(seen, heatmaps, tags),
    ]  # fmt: skip
    return np.hstack([_of_height(tile) for tile in tiles])


def _of_height(image: Image) -> Image:
    size = round(image.shape[1] * _HEIGHT / image.shape[0]), _HEIGHT
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
