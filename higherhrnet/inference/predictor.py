"""Photograph → poses in the photograph's own pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from higherhrnet.config import Header, InferenceConfig
from higherhrnet.decoding.aggregate import Maps, aggregate
from higherhrnet.decoding.decode import decode
from higherhrnet.decoding.select import select
from higherhrnet.decoding.upsample import Array, mirror, resize
from higherhrnet.engines.load import Engine, EngineName, Precision, load_engine
from higherhrnet.geometry import Resize, resize_for_network
from higherhrnet.io.images import Image, read_image
from higherhrnet.poses import Poses
from higherhrnet.zoo.download import DEFAULT

Source = str | Path | BinaryIO | NDArray[np.uint8]
"""A path, an open file or an RGB array (H, W, 3)."""

Views = Array | NDArray[np.uint8]
"""What an engine is given: normalised views, or for a `DevicePredictor` RGB."""

Outputs = dict[float, list[Array]]
"""For each scale, (V, ...) maps of a photograph and its mirror image, coarse to fine."""

FLIP_SHIFT = 3
"""Input pixels by which the original's two views miss each other: its head's stride less one."""


@dataclass(frozen=True)
class PreprocessedImage:
    """A photograph as the network will see it."""

    resizes: dict[float, Resize]
    """A scale's way there and back."""
    views: dict[float, Views]
    """(V, 3, H, W) a scale: the photograph, and its mirror image if it is shown; for a
    `DevicePredictor` (1, H, W, 3) RGB."""

    @property
    def sizes(self) -> dict[float, tuple[int, ...]]:
        """The views' shapes, a scale; pictures that share them can share a pass."""
        return {scale: views.shape for scale, views in self.views.items()}

    @property
    def base(self) -> Resize:
        """The way at scale 1, or at the only one."""
        return self.resizes[1 if 1 in self.resizes else min(self.resizes)]


class Predictor:
    """Finds people. Calling it does all; `prepare`, `run` and `read` are its three steps.

    Args:
        engine: runs the network.
        header: what the network is.
        test: how to show it photographs and read its maps; the header's settings when None.
        batch_size: views of one size that the engine is given at once; a photograph's own views
            always are. On a CPU more are no faster.
    """

    def __init__(
        self,
        engine: Engine,
        header: Header,
        test: InferenceConfig | None = None,
        batch_size: int = 1,
    ) -> None:
        self.engine, self.header, self.batch_size = engine, header, batch_size
        self.test = test or header.test

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT,
        *,
        engine: EngineName = "auto",
        precision: Precision = "f32",
        threads: int | None = None,
        streams: int = 1,
        test: InferenceConfig | None = None,
    ) -> Predictor:
        """A predictor with the weights in a file.

        Args:
            model: a `.onnx` or `.safetensors` file, or the name of a downloaded model; the one in
                the box if not said.
            engine: what runs the network; `auto` takes the fastest that is installed.
            precision: of the network's arithmetic.
            threads: on the CPU; all cores when None.
            streams: photographs in the network at the same time on a CPU, of which each has its
                share of the threads: more for `stream`, 1 where one is waited for.
            test: settings; those that the file says suit it best when None.

        Raises:
            InputError: the model or the engine cannot be used; see `load_engine`.
        """
        from higherhrnet.engines.torch import DevicePredictor, TorchEngine

        runner, header = load_engine(model, engine, precision, threads, streams)
        if isinstance(runner, TorchEngine) and runner.device == "cuda":
            return DevicePredictor(runner, header, test)
        return cls(runner, header, test)

    @overload
    def __call__(self, images: Source) -> Poses: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, images: Sequence[Source]) -> list[Poses]: ...
    def __call__(self, images: Source | Sequence[Source]) -> Poses | list[Poses]:
        """The people in a photograph, or in each of a list of any sizes.

        Raises:
            InputError: an image cannot be read or shown, or the network's maps are no numbers.
        """
        if not isinstance(images, Sequence) or isinstance(images, str):
            return self([images])[0]
        prepared = [self.prepare(read_image(image)) for image in images]
        outputs = self.run(prepared)
        return [self.read(*pair) for pair in zip(prepared, outputs, strict=True)]

    @property
    def images_per_batch(self) -> int:
        """Photographs of one size that go through the network together."""
        return max(1, self.batch_size // (1 + self.test.flip))

    def showing(self, flip: bool) -> Predictor:
        """The same, that shows the mirrored photographs too, or does not."""
        test = replace(self.test, flip=flip)
        return Predictor(self.engine, self.header, test, self.batch_size)

    def look(self) -> dict[str, Any]:
        """The model and how it looks at photographs, in plain values."""
        return {"model": asdict(self.header), "test": asdict(self.test)}

    def prepare(self, image: Image) -> PreprocessedImage:
        """(h, w, 3) uint8 RGB → resized and normalised views for the network."""
        resizes = self.resizes(*image.shape[:2])
        views = {scale: self._views(resize.warp(image)) for scale, resize in resizes.items()}
        return PreprocessedImage(resizes, views)

    def resizes(self, height: int, width: int) -> dict[float, Resize]:
        """The way of a photograph of this size into the network, for each scale."""
        return {
            scale: resize_for_network(
                height,
                width,
                self.test.size or self.header.input.size,
                scale,
                min(self.test.scales),
                self.header.input.convention,
            )
            for scale in self.test.scales
        }

    @cached_property
    def _normalisation(self) -> tuple[Array, Array]:
        mean, std = (
            255 * np.array(values, np.float32)[:, None, None]
            for values in (self.header.input.mean, self.header.input.std)
        )
        return np.reciprocal(std), mean / std

    def _views(self, image: Image) -> Views:
        gain, bias = self._normalisation
        views = np.empty((1 + self.test.flip, 3, *image.shape[:2]), np.float32)
        np.multiply(image.transpose(2, 0, 1), gain, out=views[0])
        views[0] -= bias
        if self.test.flip:
            mirror(views[0], views[1])
            if self.test.align_flip:
                views[1, :, :, :-FLIP_SHIFT] = views[1, :, :, FLIP_SHIFT:]
        return views

    def run(self, prepared: Sequence[PreprocessedImage]) -> list[Outputs]:
        """The network's outputs for each photograph.

        Views of the same size go through the network together, of whichever photograph.
        """
        alike: dict[tuple[int, ...], list[tuple[int, float]]] = defaultdict(list)
        for index, photograph in enumerate(prepared):
            for scale, views in photograph.views.items():
                alike[views.shape].append((index, scale))
        outputs: list[Outputs] = [{} for _ in prepared]
        for (count, *_), jobs in alike.items():
            for start in range(0, len(jobs), self.images_per_batch):
                batch = jobs[start : start + self.images_per_batch]
                images: list[Any] = [prepared[i].views[scale] for i, scale in batch]
                maps = self.engine(np.concatenate(images) if len(images) > 1 else images[0])
                for place, (i, scale) in enumerate(batch):
                    mine = slice(place * count, (place + 1) * count)
                    outputs[i][scale] = [level[mine] for level in maps]
        return outputs

    def merge(self, prepared: PreprocessedImage, outputs: Outputs) -> Maps:
        """One photograph's outputs → its heatmaps and tags.

        Raises:
            InputError: they hold something that is no number.
        """
        skeleton = self.header.skeleton
        return aggregate(outputs, len(skeleton), skeleton.flip_index, self._grid(prepared))

    def _grid(self, prepared: PreprocessedImage) -> tuple[int, int] | None:
        return (prepared.base.height, prepared.base.width) if self.test.project else None

    def view(
        self, image: Image, prepared: PreprocessedImage, outputs: Outputs
    ) -> tuple[Image, Array, Array]:
        """What there is to draw of a photograph's maps.

        Returns:
            The photograph as the network saw it, (K, h, w) heatmaps and (K or 1, h, w, T) tags.
        """
        maps = self.merge(prepared, outputs)
        _, height, width = maps.heatmaps.shape
        count, views = maps.tags.shape[:2]
        tags = resize(maps.tags.reshape(-1, *maps.tags.shape[2:]), height, width)
        tags = tags.reshape(count, views, height, width).transpose(0, 2, 3, 1)
        return prepared.base.warp(image), maps.heatmaps, tags

    def read(self, prepared: PreprocessedImage, outputs: Outputs) -> Poses:
        """One photograph's outputs → its people, in the photograph's pixels.

        Raises:
            InputError: the network's maps hold something that is no number.
        """
        maps = self.merge(prepared, outputs)
        people = decode(maps, self.header.skeleton, self.test.decode)
        resize = prepared.resizes[min(prepared.resizes)]
        height, width = maps.grid
        keypoints = resize.to_image(people.keypoints[..., :2], width, height)
        scores = people.keypoints[..., 2]
        poses = Poses(
            np.where(scores[..., None] > 0, keypoints, 0).astype(np.float32),
            scores,
            people.scores,
            self.header.skeleton,
        )
        return select(poses, self.test.decode)
