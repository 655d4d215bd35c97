"""Decoding by tags: the decoder of networks that predict heatmaps and tags.

`TagDecoder` decodes arrays on a CPU, `inference.gpu_pixels` tensors on the device of the network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.decoding.aggregate import Maps, ScaleMaps, merge_scales, merge_views
from higherhrnet.decoding.decode import DecodedPeople, decode
from higherhrnet.decoding.drawable import DrawableMaps
from higherhrnet.decoding.whole_maps import resize
from higherhrnet.geometry import Resize
from higherhrnet.poses.poses import Poses


class TagMaps(Protocol):
    """Heatmaps and tags of one image, on any device."""

    @property
    def decode_size(self) -> tuple[int, int]:
        """Height and width of the maps in which people are decoded."""
        ...


M = TypeVar("M", bound=TagMaps)


class BaseTagDecoder(ABC, Generic[M]):
    """What decoders of arrays and of tensors have in common; see `decoders.Decoder`.

    Args:
        header: the header of the model.
    """

    map_names: tuple[str, ...] = ("heatmaps", "tags")

    def __init__(self, header: Header) -> None:
        self._skeleton, self._align_corners = header.skeleton, header.input.align_corners

    def base_scale(self, scales: Sequence[float]) -> float:
        """Returns the smallest scale, as in the reference implementation."""
        return min(scales)

    def decode(self, maps: M, transform: Resize, config: InferenceConfig) -> Poses:
        """Finds the people of one image in its maps, in pixels of the image."""
        people = self.decode_people(maps, config.decode)
        keypoints = transform.to_image(people.keypoints[..., :2], maps.decode_size)
        scores = people.keypoints[..., 2]
        found = np.where(scores[..., None] > 0, keypoints, 0).astype(np.float32)
        return Poses(found, scores, people.scores, self._skeleton)

    @abstractmethod
    def decode_people(self, maps: M, config: DecodeConfig) -> DecodedPeople:
        """Finds the people of one image in its maps, in pixels of `maps.decode_size`."""


class TagDecoder(BaseTagDecoder[Maps]):
    """Groups keypoints into people by their tags; see `decoders.Decoder`."""

    def merge_views(self, levels: Sequence[FloatArray]) -> ScaleMaps:
        """Merges strides and views; see `aggregate.merge_views`."""
        return merge_views(
            levels, len(self._skeleton), self._skeleton.flip_index, self._align_corners
        )

    def merge_scales(
        self,
        scales: Mapping[float, Sequence[FloatArray]],
        input_size: tuple[int, int],
        config: InferenceConfig,
    ) -> Maps:
        """Merges the maps of all scales; see `aggregate.merge_scales`."""
        merged = {scale: ScaleMaps(*maps) for scale, maps in scales.items()}
        return merge_scales(merged, input_size if config.project else None, self._align_corners)

    def decode_people(self, maps: Maps, config: DecodeConfig) -> DecodedPeople:
        """Finds the people of one image in its maps; see `decode.decode`."""
        return decode(maps, self._skeleton, config)

    def drawable(self, maps: Maps) -> DrawableMaps:
        """Returns the heatmaps, and the tags enlarged to their size."""
        return DrawableMaps(*drawable_tags(maps))


def drawable_tags(maps: Maps) -> tuple[FloatArray, FloatArray]:
    """Returns (K, h, w) heatmaps, and (K or 1, h, w, T) tags enlarged to their size."""
    _, height, width = maps.heatmaps.shape
    count, views = maps.tags.shape[:2]
    flat = maps.tags.reshape(-1, *maps.tags.shape[2:])
    tags = resize(flat, height, width, align_corners=maps.align_corners)
    return maps.heatmaps, tags.reshape(count, views, height, width).transpose(0, 2, 3, 1)
