"""The processing around the network: resized images → network inputs, network outputs → maps.

`CpuProcessing` works with every engine. `GpuProcessing` in `gpu.py` is for CUDA devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.decoding.decoders import Decoder, load_decoder
from higherhrnet.decoding.whole_maps import flip_horizontally
from higherhrnet.engines.base import Engine
from higherhrnet.geometry import FLIP_SHIFT, Resize, main_scale

Outputs = dict[float, list[Any]]
"""The network's outputs for one image: for each scale, its maps, coarse to fine, as arrays or as
tensors on the device of the network."""


@dataclass(frozen=True)
class PreprocessedImage:
    """An image that is ready for the network."""

    resizes: dict[float, Resize]
    """For each scale, the transform from the image to the network's input."""
    inputs: dict[float, NDArray[Any]]
    """For each scale, the input from `Processing.preprocess`."""

    @property
    def shapes(self) -> dict[float, tuple[int, ...]]:
        """For each scale, the shape of its input; images with equal shapes can share a batch."""
        return {scale: array.shape for scale, array in self.inputs.items()}

    @property
    def base_resize(self) -> Resize:
        """The transform of scale 1, or of the only scale."""
        return self.resizes[main_scale(self.resizes)]


class Processing(Protocol):
    """Converts images to the network's inputs and the network's outputs to maps."""

    engine: Engine
    decoder: Decoder
    """Finds the people in the network's outputs."""
    streams: int
    """Number of calls of `forward` that run concurrently."""

    def preprocess(self, image: Image, config: InferenceConfig) -> NDArray[Any]:
        """Computes the network's input for an image that has been resized.

        Args:
            image: (H, W, 3) resized image.
            config: the inference settings, which determine the views.

        Returns:
            An array that `forward` accepts, alone or concatenated with others of the same shape.
        """
        ...

    def forward(self, inputs: NDArray[Any], config: InferenceConfig) -> Sequence[Any]:
        """Runs the network on the inputs of one or several images.

        Args:
            inputs: inputs from `preprocess` with equal shapes, concatenated.
            config: the inference settings.

        Returns:
            The network's outputs; as many rows of each belong to an image as the image has rows in
            `inputs`.

        Raises:
            InputError: the engine failed.
        """
        ...

    def merge_views(self, levels: Sequence[Any]) -> Sequence[Any]:
        """Merges the views of one image at one scale; see `Decoder.merge_views`.

        Args:
            levels: the rows of the image in what `forward` returned.
        """
        ...


class CpuProcessing(Processing):
    """Normalizes and flips images, and merges maps, with NumPy and OpenCV.

    Args:
        engine: runs the network.
        header: the header of the model.
    """

    def __init__(self, engine: Engine, header: Header) -> None:
        self.engine, self.streams = engine, engine.streams
        self.decoder = load_decoder(header)
        self._gain, self._bias = normalization(header)

    def preprocess(self, image: Image, config: InferenceConfig) -> FloatArray:
        """Computes (V, 3, H, W) normalized views of an (H, W, 3) image.

        V is 2 with the flipped view, otherwise 1.
        """
        views = np.empty((1 + config.flip, 3, *image.shape[:2]), np.float32)
        np.multiply(image.transpose(2, 0, 1), self._gain, out=views[0])
        views[0] -= self._bias
        if config.flip:
            flip_horizontally(views[0], views[1])
            if config.align_flip:
                views[1, :, :, :-FLIP_SHIFT] = views[1, :, :, FLIP_SHIFT:]
        return views

    def forward(self, inputs: FloatArray, config: InferenceConfig) -> Sequence[FloatArray]:
        """Runs the network on (B · V, 3, H, W) views."""
        return self.engine(inputs)

    def merge_views(self, levels: Sequence[FloatArray]) -> Sequence[FloatArray]:
        """Merges the views of one image at one scale; see `Decoder.merge_views`."""
        return self.decoder.merge_views(levels)


def normalization(header: Header) -> tuple[FloatArray, FloatArray]:
    """Computes the (3, 1, 1) gain and bias that normalize an image of values from 0 to 255.

    The normalized image is the image times the gain, minus the bias.
    """
    mean, std = (
        255 * np.array(values, np.float32)[:, None, None]
        for values in (header.input.mean, header.input.std)
    )
    return np.reciprocal(std), mean / std
