"""Aggregation: strides, flipped view and scales → one set of heatmaps and one of tags.

As in the paper (section 3, "Heatmap Aggregation"), the heatmaps of all resolutions and views are
averaged after upsampling, and the tags are those of the lowest resolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.decoding.upsample import BLOCK, Upsampled
from higherhrnet.decoding.whole_maps import resize
from higherhrnet.errors import InputError
from higherhrnet.geometry import main_scale

NOT_FINITE = "the network's maps contain NaN or infinity; use --precision f32, or other weights"
"""The error for maps that cannot be decoded."""


class ScaleMaps(NamedTuple):
    """The maps of one image at one scale."""

    heatmaps: FloatArray
    """(K, h, w), averaged over views and strides."""
    tags: FloatArray
    """(K or 1, V, h', w'), one tag per view; those of the flipped view are flipped back."""


@dataclass(frozen=True)
class Maps:
    """The maps of one image, at the smallest size from which they can be computed."""

    heatmaps: FloatArray
    """(K, h, w), about 0 to 1."""
    tags: FloatArray
    """(K or 1, T, h', w'), one tag per view."""
    heatmap_factors: tuple[int, ...]
    """Factors by which the heatmaps are upsampled, one after the other, to the size at which people
    are decoded."""
    tag_factors: tuple[int, ...]
    """The same for the tags."""
    align_corners: bool = False
    """Whether the maps were resized with the centers of their corner cells aligned, so that the
    positions on them are counted from the center of the first cell (the convention `udp`)."""

    @property
    def decode_size(self) -> tuple[int, int]:
        """Height and width of the maps in which people are decoded."""
        factor = math.prod(self.heatmap_factors)
        return self.heatmaps.shape[1] * factor, self.heatmaps.shape[2] * factor

    def with_positions(self, weight: float) -> Maps:
        """Appends x and y of each cell to the tags, unless the weight is 0.

        The unit of x and y is the length of the map's shorter side divided by `weight`.
        """
        if not weight:
            return self
        count, _, height, width = self.tags.shape
        y, x = np.indices((height, width), np.float32) * np.float32(weight / min(height, width))
        positions = np.broadcast_to(np.stack([x, y]), (count, 2, height, width))
        return replace(self, tags=np.concatenate([self.tags, positions], 1))

    def upsampled(self) -> tuple[Upsampled, Upsampled]:
        """Returns (K, 1, H, W) heatmaps and (K or 1, T, H, W) tags at the size for decoding people.

        They are computed on demand.
        """
        heatmaps = Upsampled(self.heatmaps[:, None], self.heatmap_factors)
        return heatmaps, Upsampled(self.tags, self.tag_factors)


def merge_views(
    levels: Sequence[FloatArray],
    num_keypoints: int,
    flip_index: Sequence[int],
    align_corners: bool = False,
) -> ScaleMaps:
    """Merges strides and views of one image at one scale.

    Heatmaps are averaged over strides and views; tags are those of the coarsest stride, with one
    tag per view.

    Args:
        levels: the network's outputs, coarse to fine: (V, K + T, h, w) heatmaps and tags, then
            (V, K, ·, ·) heatmaps. V is 1, or 2 if the second view is flipped.
        num_keypoints: K.
        flip_index: for each keypoint, the index of the keypoint that replaces it in a flipped
            image.
        align_corners: resize maps with the centers of the corner cells aligned.
    """
    flip = np.asarray(flip_index)
    return ScaleMaps(
        _merge_heatmaps([level[:, :num_keypoints] for level in levels], flip, align_corners),
        _merge_tags(levels[0][:, num_keypoints:], flip),
    )


def merge_scales(
    merged: Mapping[float, ScaleMaps],
    decode_size: tuple[int, int] | None,
    align_corners: bool = False,
) -> Maps:
    """Merges the maps of one image over its scales.

    Heatmaps are averaged; tags are those of scale 1, or of the only scale.

    Args:
        merged: the maps of each scale.
        decode_size: height and width of the maps in which people are decoded (None: those of the
            finest map of the largest scale).
        align_corners: resize maps with the centers of the corner cells aligned.

    Raises:
        InputError: the maps contain NaN or infinity.
    """
    decode_size = decode_size or merged[max(merged)].heatmaps.shape[1:]
    heatmaps, tags = merged[main_scale(merged)]
    tag_factors: tuple[int, ...] = ()
    if align_corners:
        resized = [resize(m.heatmaps, *decode_size, align_corners=True) for m in merged.values()]
        flat = resize(tags.reshape(-1, *tags.shape[2:]), *decode_size, align_corners=True)
        return _checked(
            Maps(_mean(resized), flat.reshape(*tags.shape[:2], *decode_size), (), (), True)
        )
    for height, width in (heatmaps.shape[1:], decode_size):
        tags, tag_factors = _upsample(tags, tag_factors, height, width)
    if len(merged) == 1:
        upsampled, factors = _upsample(heatmaps[:, None], (), *decode_size)
        heatmaps = upsampled[:, 0]
    else:
        heatmaps, factors = _mean([resize(m.heatmaps, *decode_size) for m in merged.values()]), ()
    return _checked(Maps(heatmaps, tags, factors, tag_factors))


def _checked(maps: Maps) -> Maps:
    """Returns the maps if they are finite."""
    if not (np.isfinite(maps.heatmaps.sum()) and np.isfinite(maps.tags.sum())):
        raise InputError(NOT_FINITE)
    return maps


def _merge_heatmaps(
    levels: Sequence[FloatArray], flip: IndexArray, align_corners: bool
) -> FloatArray:
    """Averages (V, K, ·, ·) heatmaps of each stride: (K, h, w) at the size of the finest.

    The maps of one keypoint fit into the cache of a processor core, those of all do not.
    """
    height, width = levels[-1].shape[2:]
    merged = np.empty(levels[-1].shape[1:], np.float32)
    for k, flipped_k in enumerate(flip):
        means = [_mean_of_views(level, k, flipped_k) for level in levels]
        _mean(
            [resize(mean[None], height, width, align_corners=align_corners)[0] for mean in means],
            out=merged[k],
        )
    return merged


def _mean_of_views(views: FloatArray, k: int, flipped_k: int) -> FloatArray:
    """Averages the views of keypoint `k`: (V, K, h, w) → (h, w).

    The flipped view is flipped back before maps are upsampled, where they have fewer cells; the
    result is the same as afterwards.
    """
    if len(views) == 1:
        return np.asarray(views[0, k])
    flipped = cv2.flip(views[1, flipped_k], 1)
    return _mean([views[0, k], flipped], out=flipped)


def _mean(maps: Sequence[FloatArray], out: FloatArray | None = None) -> FloatArray:
    """Averages maps of equal shape, added from the first to the last."""
    if len(maps) == 1:
        return np.asarray(np.positive(maps[0], out=out))
    total = np.add(maps[0], maps[1], out=out)
    for other in maps[2:]:
        total += other
    total /= len(maps)
    return total


def _merge_tags(tags: FloatArray, flip: IndexArray) -> FloatArray:
    """Flips the tags of the flipped view back: (V, K or 1, h, w) → (K or 1, V, h, w)."""
    merged = np.empty((tags.shape[1], len(tags), *tags.shape[2:]), np.float32)
    merged[:, 0] = tags[0]
    for k, maps in enumerate(merged):
        for view, target in zip(tags[1:], maps[1:], strict=True):
            cv2.flip(view[flip[k] if len(merged) > 1 else 0], 1, target)
    return merged


def _upsample(
    maps: FloatArray, factors: tuple[int, ...], height: int, width: int
) -> tuple[FloatArray, tuple[int, ...]]:
    """Upsamples (K, T, h, w) maps, on demand where `Upsampled` supports it.

    Args:
        maps: the maps.
        factors: the factors of earlier upsamplings that are computed on demand.
        height: the new height.
        width: the new width.

    Returns:
        The maps and the factors by which they remain to be upsampled on demand.
    """
    factor = deferred_factor(maps.shape[2:], factors, (height, width))
    if factor:
        return maps, (*factors, factor)
    flat = maps.reshape(-1, *maps.shape[2:])
    for earlier_factor in factors:
        flat = resize(flat, flat.shape[1] * earlier_factor, flat.shape[2] * earlier_factor)
    return resize(flat, height, width).reshape(*maps.shape[:2], height, width), ()


def deferred_factor(
    size: tuple[int, ...], factors: tuple[int, ...], new_size: tuple[int, int]
) -> int | None:
    """Finds the factor by which `Upsampled` can enlarge maps further on demand.

    Args:
        size: height and width of the maps.
        factors: the factors of earlier upsamplings that are computed on demand.
        new_size: the new height and width.

    Returns:
        The factor; None if the maps must be resized at once.
    """
    height, width = (side * math.prod(factors) for side in size)
    factor = new_size[0] // height
    supported = (height * factor, width * factor) == new_size
    return factor if supported and BLOCK % (math.prod(factors) * factor) == 0 else None
