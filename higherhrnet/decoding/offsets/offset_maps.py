"""Views and scales → the heatmaps and offsets of one image, for networks that predict offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.aggregate import NOT_FINITE
from higherhrnet.decoding.whole_maps import flip_horizontally
from higherhrnet.errors import InputError
from higherhrnet.geometry import main_scale

_Number = NDArray[Any] | int


class ScaleOffsets(NamedTuple):
    """The maps of one image at one scale, averaged over the views."""

    heatmaps: FloatArray
    """(K + 1, h, w) heatmaps; the last one is that of the centers."""
    offsets: FloatArray
    """(2K, h, w) offsets in cells: for each keypoint x, then y."""


@dataclass(frozen=True)
class OffsetMaps:
    """The maps of one image."""

    scales: Mapping[float, ScaleOffsets]
    """The maps of each scale, from the largest to the smallest."""
    decode_size: tuple[int, int]
    """Height and width in pixels of the network's input at scale 1, or at the only scale."""
    first_pixel_center: float
    """The coordinate of the center of the first pixel and of the first cell."""

    @property
    def base(self) -> ScaleOffsets:
        """The maps of scale 1, or of the only scale."""
        return self.scales[main_scale(self.scales)]

    def stride(self, scale: float) -> float:
        """Returns the number of pixels of `decode_size` per cell of a scale's maps."""
        return float(self.decode_size[0] / self.scales[scale].heatmaps.shape[1])

    def heatmap_values(self, k: _Number, y: _Number, x: _Number) -> FloatArray:
        """Computes single pixels of the heatmaps, bilinearly enlarged and averaged over scales.

        Args:
            k: indices of the heatmaps, broadcast with `y` and `x`.
            y: rows of pixels of `decode_size`, whole numbers.
            x: columns of pixels.

        Returns:
            Values of the broadcast shape. Beyond the outermost cells, their values are repeated.
        """
        total = np.zeros((), np.float32)
        for scale, maps in self.scales.items():
            stride, first = self.stride(scale), self.first_pixel_center
            rows = np.asarray((y + first) / stride - first)
            columns = np.asarray((x + first) / stride - first)
            total = total + _interpolate(maps.heatmaps, k, rows, columns)
        return np.asarray(total / np.float32(len(self.scales)), np.float32)


def _interpolate(maps: FloatArray, k: _Number, y: NDArray[Any], x: NDArray[Any]) -> FloatArray:
    """Reads (K, h, w) maps bilinearly at positions in cells; the center of the first cell is 0."""
    _, height, width = maps.shape
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    top, left = y.astype(np.intp), x.astype(np.intp)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y - top).astype(np.float32), (x - left).astype(np.float32)
    upper = maps[k, top, left] * (1 - across) + maps[k, top, right] * across
    lower = maps[k, bottom, left] * (1 - across) + maps[k, bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def merge_views(levels: Sequence[FloatArray], flip_index: Sequence[int]) -> ScaleOffsets:
    """Averages the views of one image at one scale.

    Args:
        levels: (V, K + 1, h, w) heatmaps and (V, 2K, h, w) offsets. V is 1, or 2 if the second
            view is flipped.
        flip_index: for each keypoint, the index of the keypoint that replaces it in a flipped
            image.
    """
    heatmaps, offsets = levels
    if len(heatmaps) == 1:
        return ScaleOffsets(heatmaps[0], offsets[0])
    with_center = np.append(flip_index, len(flip_index))
    return ScaleOffsets(
        _mean(heatmaps[0], flip_horizontally(heatmaps[1])[with_center]),
        merge_offsets(offsets, flip_index),
    )


def merge_offsets(offsets: FloatArray, flip_index: Sequence[int]) -> FloatArray:
    """Averages the offsets of the views: (V, 2K, h, w) → (2K, h, w); see `merge_views`."""
    plain: FloatArray = offsets[0]
    if len(offsets) == 1:
        return plain
    x_and_y = (2 * np.asarray(flip_index)[:, None] + np.arange(2)).ravel()
    flipped = flip_horizontally(offsets[1])[x_and_y]
    np.negative(flipped[::2], out=flipped[::2])
    return _mean(plain, flipped)


def _mean(plain: FloatArray, flipped: FloatArray) -> FloatArray:
    flipped += plain
    flipped *= np.float32(0.5)
    return flipped


def merge_scales(
    scales: Mapping[float, Sequence[FloatArray]],
    decode_size: tuple[int, int],
    first_pixel_center: float,
) -> OffsetMaps:
    """Collects the maps of all scales.

    Args:
        scales: the heatmaps and offsets of each scale.
        decode_size: height and width in pixels of the network's input at scale 1.
        first_pixel_center: the coordinate of the center of the first pixel.

    Raises:
        InputError: the maps contain NaN or infinity.
    """
    merged = {scale: ScaleOffsets(*scales[scale]) for scale in sorted(scales, reverse=True)}
    if not all(np.isfinite(maps.sum()) for pair in merged.values() for maps in pair):
        raise InputError(NOT_FINITE)
    return OffsetMaps(merged, decode_size, first_pixel_center)
