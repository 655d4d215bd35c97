"""The predictor: image → poses in pixels of the image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.decoding.decoders import Decoder
from higherhrnet.decoding.drawable import DrawableMaps
from higherhrnet.decoding.select import select
from higherhrnet.engines.base import Engine, EngineName, EngineOptions, Precision
from higherhrnet.engines.load import load_engine
from higherhrnet.geometry import Resize, resize_for_network
from higherhrnet.inference.processing import CpuProcessing, Outputs, PreprocessedImage, Processing
from higherhrnet.io.image_formats.deep_images import white_level
from higherhrnet.io.images import ImageSource, is_image_source, read_image
from higherhrnet.poses.poses import Poses
from higherhrnet.zoo.resolve import DEFAULT_MODEL

_CHUNK = 8
"""Minimum number of images of an iterable that are in memory at the same time."""


class Predictor:
    """Finds the people in images.

    `predictor(images)` runs `preprocess`, `forward` and `postprocess`.

    Args:
        engine: the engine that runs the network.
        header: the model's metadata: architecture, skeleton, input, inference settings.
        config: the inference settings (default: those in the header).
        batch_size: maximum number of views per batch. A view is an image or its flipped copy; the
            views of one image are always in the same batch. `load` sets it to 32 on a GPU, else 1,
            because larger batches are not faster on a CPU.
        processing: preprocessing and merging backend (default: on the CPU).
    """

    config: InferenceConfig
    """The inference settings."""
    header: Header
    """The model's metadata: architecture, skeleton, input, inference settings."""
    batch_size: int
    """Maximum number of views per batch."""
    processing: Processing
    """Preprocessing and merging backend."""

    def __init__(
        self,
        engine: Engine,
        header: Header,
        config: InferenceConfig | None = None,
        batch_size: int = 1,
        processing: Processing | None = None,
    ) -> None:
        self.header, self.batch_size = header, batch_size
        self.config = config or header.inference
        self.processing = processing or CpuProcessing(engine, header)

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        engine: EngineName = "auto",
        precision: Precision = "f32",
        threads: int | None = None,
        streams: int | None = None,
        compile: bool = False,
        config: InferenceConfig | None = None,
    ) -> Predictor:
        """Loads a model.

        The arguments except for `config` are the fields of `EngineOptions`.

        Args:
            model: a .onnx or .safetensors file, `default` for the bundled model, or the name of a
                published model, which is downloaded when it is first used.
            engine: the library that runs the network (default: the fastest installed one).
            precision: the arithmetic of the network.
            threads: number of CPU threads (default: all cores).
            streams: number of concurrent inference requests on the CPU (default: 1).
            compile: compile the network with torch.compile for each size of input; only with the
                PyTorch engine.
            config: replaces all inference settings of the model; to change some, use
                `predictor.with_config(dataclasses.replace(predictor.config, size=512))`.

        Raises:
            InputError: the model or the engine cannot be used; see `load_engine`.
        """
        options = EngineOptions(str(model), engine, precision, threads, streams, compile)
        return cls.from_options(options, config)

    @classmethod
    def from_options(
        cls, options: EngineOptions, config: InferenceConfig | None = None
    ) -> Predictor:
        """Loads the model that the options select.

        Args:
            options: the model and the engine.
            config: replaces all inference settings of the model (default: those in its header).

        Raises:
            InputError: the model or the engine cannot be used; see `load_engine`.
        """
        engine, header = load_engine(options)
        if engine.cuda_engine is None:
            return cls(engine, header, config)
        from higherhrnet.inference.gpu import GpuProcessing

        processing = GpuProcessing(engine.cuda_engine, header)
        return cls(engine, header, config, batch_size=32, processing=processing)

    @overload
    def __call__(self, images: ImageSource) -> Poses: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, images: Iterable[ImageSource]) -> list[Poses]: ...
    def __call__(self, images: ImageSource | Iterable[ImageSource]) -> Poses | list[Poses]:
        """Finds the people in one image or in several images.

        Args:
            images: one image, or an iterable of images of any sizes, which is consumed in chunks.
                An image is a path, the bytes of a file, a file open for reading bytes, a uint8
                array (RGB, RGBA or gray) or a PIL image.

        Returns:
            The poses of the image, or for an iterable a list with the poses of each image.

        Raises:
            InputError: an image cannot be read or is too small, too large or too elongated, the
                engine failed, or the network's maps contain NaN or infinity.
        """
        if is_image_source(images) or not isinstance(images, Iterable):  # None, for example
            return self._predict([images])[0]
        remaining: Iterator[Any] = iter(images)
        poses: list[Poses] = []
        while chunk := list(islice(remaining, max(_CHUNK, self.images_per_batch))):
            poses += self._predict(chunk)
        return poses

    def _predict(self, images: Sequence[Any]) -> list[Poses]:
        preprocessed = [self.preprocess(read_image(image)) for image in images]
        outputs = self.forward(preprocessed)
        return [self.postprocess(*pair) for pair in zip(preprocessed, outputs, strict=True)]

    @property
    def engine(self) -> Engine:
        """The engine that runs the network."""
        return self.processing.engine

    @property
    def decoder(self) -> Decoder:
        """Finds the people in the network's outputs; the model's head selects it."""
        return self.processing.decoder

    @property
    def images_per_batch(self) -> int:
        """The maximum number of images of equal size in a batch."""
        return max(1, self.batch_size // (1 + self.config.flip))

    def with_config(self, config: InferenceConfig) -> Predictor:
        """Returns a predictor with the same network and other inference settings."""
        return Predictor(self.engine, self.header, config, self.batch_size, self.processing)

    def with_flip(self, flip: bool) -> Predictor:
        """Returns a predictor with the same network, with or without the flipped view."""
        return self.with_config(replace(self.config, flip=flip))

    def settings(self) -> dict[str, Any]:
        """Returns the model's header, the inference settings and the white level, as JSON values.

        The weights of a rescoring network are replaced by their digest.
        """
        settings = {"model": asdict(self.header), "inference": asdict(self.config)}
        if network := settings["model"]["rescoring"]:
            network["weights"] = sha256(network["weights"].encode()).hexdigest()
        white = white_level()
        return settings if white is None else settings | {"white_level": white}

    def preprocess(self, image: Image) -> PreprocessedImage:
        """Resizes and normalizes an image for the network.

        Args:
            image: (h, w, 3) image.

        Raises:
            InputError: the network's input would be too large, or its size not a multiple of 32.
        """
        resizes = self.resizes(*image.shape[:2])
        inputs = {
            scale: self.processing.preprocess(resize.warp(image), self.config)
            for scale, resize in resizes.items()
        }
        return PreprocessedImage(resizes, inputs)

    def resizes(self, height: int, width: int) -> dict[float, Resize]:
        """Computes for each scale the transform of an image of this size to the network's input."""
        base_scale = self.decoder.base_scale(self.config.scales)
        return {
            scale: resize_for_network(
                height,
                width,
                self.config.size or self.header.input.size,
                scale,
                base_scale,
                self.header.input.convention,
            )
            for scale in self.config.scales
        }

    def forward(self, images: Sequence[PreprocessedImage]) -> list[Outputs]:
        """Runs the network on preprocessed images.

        Inputs of equal shape are batched across images, up to `images_per_batch` images.

        Returns:
            For each image, the network's outputs at each scale.

        Raises:
            InputError: the engine failed.
        """
        jobs: dict[tuple[int, ...], list[tuple[int, float]]] = defaultdict(list)
        for index, image in enumerate(images):
            for scale, array in image.inputs.items():
                jobs[array.shape].append((index, scale))
        outputs: list[Outputs] = [{} for _ in images]
        for (count, *_), same_shape in jobs.items():
            for start in range(0, len(same_shape), self.images_per_batch):
                batch = same_shape[start : start + self.images_per_batch]
                arrays = [images[index].inputs[scale] for index, scale in batch]
                maps = self.processing.forward(
                    np.concatenate(arrays) if len(arrays) > 1 else arrays[0], self.config
                )
                for position, (index, scale) in enumerate(batch):
                    part = slice(position * count, (position + 1) * count)
                    outputs[index][scale] = [level[part] for level in maps]
        return outputs

    def merge_maps(self, preprocessed: PreprocessedImage, outputs: Outputs) -> Any:  # noqa: ANN401
        """Merges the outputs of one image over views and scales; see `Decoder.merge_scales`.

        Raises:
            InputError: the maps contain NaN or infinity.
        """
        base = preprocessed.base_resize
        scales = {s: self.processing.merge_views(levels) for s, levels in outputs.items()}
        return self.decoder.merge_scales(scales, base.size, self.config)

    def drawable_maps(
        self, image: Image, preprocessed: PreprocessedImage, outputs: Outputs
    ) -> tuple[Image, DrawableMaps]:
        """Computes the arguments of `draw_maps` for one image.

        Returns:
            The (H, W, 3) image as the network received it, and the maps.

        Raises:
            InputError: the maps contain NaN or infinity.
        """
        maps = self.decoder.drawable(self.merge_maps(preprocessed, outputs))
        return preprocessed.base_resize.warp(image), maps

    def postprocess(self, preprocessed: PreprocessedImage, outputs: Outputs) -> Poses:
        """Decodes the outputs of one image into poses in the pixels of the image.

        Raises:
            InputError: the maps contain NaN or infinity.
        """
        return self.decode_maps(preprocessed, self.merge_maps(preprocessed, outputs))

    def decode_maps(self, preprocessed: PreprocessedImage, maps: Any) -> Poses:  # noqa: ANN401
        """Decodes what `merge_maps` returned into poses in the pixels of the image."""
        # As in the reference implementation, the transform is that of the smallest scale.
        transform = preprocessed.resizes[min(preprocessed.resizes)]
        poses = self.decoder.decode(maps, transform, self.config)
        return select(poses, self.config.decode)
