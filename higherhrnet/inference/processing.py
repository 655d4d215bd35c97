"""What happens around the network: resized images → network inputs; network outputs → maps.

`CpuProcessing` works with any engine. `gpu.py` has the alternative for a CUDA device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.config import Header, InferenceConfig
from higherhrnet.decoding.aggregate import Maps, aggregate
from higherhrnet.decoding.upsample import mirror
from higherhrnet.engines.base import Engine

FLIP_SHIFT = 3
"""Input pixels by which the flipped view is displaced in the reference implementation: the stride
of the coarsest head less one."""

Outputs = dict[float, list[FloatArray]]
"""The network's outputs for one image: for each scale, its maps, coarse to fine."""


class Processing(Protocol):
    """How an image becomes the network's input, and how the network's outputs become maps."""

    engine: Engine
    streams: int
    """Number of calls of `forward` that run concurrently."""

    def preprocess(self, image: Image, config: InferenceConfig) -> NDArray[Any]:
        """Makes the network's input from an image that is resized for it.

        Args:
            image: (H, W, 3).
            config: says whether the flipped view is shown as well.

        Returns:
            An array that `forward` accepts, alone or concatenated with others of its shape.
        """
        ...

    def forward(self, inputs: NDArray[Any], config: InferenceConfig) -> Sequence[FloatArray]:
        """Runs the network on what `preprocess` made of one or several images."""
        ...

    def merge(self, outputs: Outputs, grid: tuple[int, int] | None) -> Maps:
        """Merges the outputs of one image over views, strides and scales.

        Args:
            outputs: for each scale, the parts of what `forward` returned that belong to the image.
            grid: height and width to decode at, or None for those of the finest map.

        Raises:
            InputError: the maps hold NaN or infinity.
        """
        ...


class CpuProcessing(Processing):
    """Normalizes and flips images, and merges maps, with NumPy and OpenCV."""

    def __init__(self, engine: Engine, header: Header) -> None:
        self.engine, self.streams = engine, engine.streams
        self._skeleton = header.skeleton
        self._gain, self._bias = normalization(header)

    def preprocess(self, image: Image, config: InferenceConfig) -> FloatArray:
        """(H, W, 3) image → (V, 3, H, W) normalized views; V is 2 with the flipped view."""
        views = np.empty((1 + config.flip, 3, *image.shape[:2]), np.float32)
        np.multiply(image.transpose(2, 0, 1), self._gain, out=views[0])
        views[0] -= self._bias
        if config.flip:
            mirror(views[0], views[1])
            if config.align_flip:
                views[1, :, :, :-FLIP_SHIFT] = views[1, :, :, FLIP_SHIFT:]
        return views

    def forward(self, inputs: FloatArray, config: InferenceConfig) -> Sequence[FloatArray]:
        """(B · V, 3, H, W) views → the network's outputs for each of them."""
        return self.engine(inputs)

    def merge(self, outputs: Outputs, grid: tuple[int, int] | None) -> Maps:
        """Merges the outputs of one image; see `aggregate`."""
        return aggregate(outputs, len(self._skeleton), self._skeleton.flip_index, grid)


def normalization(header: Header) -> tuple[FloatArray, FloatArray]:
    """(3, 1, 1) gain and bias: the network's input is a uint8 image times gain minus bias."""
    mean, std = (
        255 * np.array(values, np.float32)[:, None, None]
        for values in (header.input.mean, header.input.std)
    )
    return np.reciprocal(std), mean / std
