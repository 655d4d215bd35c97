"""Merged maps at the size at which people are decoded, and what is searched in them.

`ArrayPixels` searches maps with NumPy, `inference.gpu_pixels` on the device of the network.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.config.inference import DecodeConfig
from higherhrnet.decoding.aggregate import Maps
from higherhrnet.decoding.peaks import Peaks, find_peaks
from higherhrnet.decoding.refine import find_missing_keypoints
from higherhrnet.decoding.upsample import PixelReader, Upsampled


class Pixels(Protocol):
    """The heatmaps and tags of an image at the size at which people are decoded."""

    @property
    def heatmaps(self) -> PixelReader:
        """The heatmaps, without the tags."""
        ...

    def find_peaks(self, config: DecodeConfig) -> tuple[Peaks, FloatArray]:
        """Finds the highest peaks of each heatmap.

        Returns:
            N peaks, and their (N, T) tags.
        """
        ...

    def find_missing(
        self, person_tags: FloatArray, k: IndexArray
    ) -> tuple[IndexArray, IndexArray, FloatArray]:
        """Finds the pixel with the highest heatmap value minus rounded tag distance.

        Args:
            person_tags: (Q, T) mean tags of the person of each missing keypoint.
            k: (Q,) indices of the missing keypoints.

        Returns:
            (Q,) columns, rows and heatmap values; of equal pixels the first in reading order.
        """
        ...


class ArrayPixels:
    """Pixels that are computed with NumPy where they are needed; see `Pixels`.

    Args:
        maps: the maps.
        position_weight: see `DecodeConfig`.
    """

    heatmaps: Upsampled
    """The heatmaps, without the tags."""

    def __init__(self, maps: Maps, position_weight: float) -> None:
        self.heatmaps, self._tags = maps.with_positions(position_weight).upsampled()
        self._bounds = self.heatmaps.block_maxima()[:, 0]

    def find_peaks(self, config: DecodeConfig) -> tuple[Peaks, FloatArray]:
        """Finds the highest peaks of each heatmap; see `Pixels`."""
        peaks = find_peaks(
            self.heatmaps, self._bounds, config.min_peak, config.peak_window, config.max_people
        )
        tag_map = np.minimum(peaks.keypoint, self._tags.count - 1)
        return peaks, self._tags.at(tag_map, peaks.y, peaks.x)

    def find_missing(
        self, person_tags: FloatArray, k: IndexArray
    ) -> tuple[IndexArray, IndexArray, FloatArray]:
        """Finds missing keypoints; see `Pixels`."""
        return find_missing_keypoints(self.heatmaps, self._bounds, self._tags, person_tags, k)
