"""Strides, mirrored views and scales → one set of heatmaps and one of tags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.upsample import BLOCK, Upsampled, mirror, resize
from higherhrnet.errors import InputError


class ScaleMaps(NamedTuple):
    """What the network says of one photograph at one scale."""

    heatmaps: FloatArray
    """(K, h, w) averaged over views and strides."""
    tags: FloatArray
    """(K or 1, V, h', w') a tag a view, those of the mirrored view turned back."""


@dataclass(frozen=True)
class Maps:
    """What the network says of one photograph, as small as it can be kept."""

    heatmaps: FloatArray
    """(K, h, w) about 0 to 1."""
    tags: FloatArray
    """(K or 1, T, h', w'), a tag a view."""
    heatmap_factors: tuple[int, ...]
    """The enlargements that lead from the heatmaps to the grid on which people are decoded."""
    tag_factors: tuple[int, ...]
    """The same for the tags."""

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the grid on which people are decoded."""
        factor = math.prod(self.heatmap_factors)
        return self.heatmaps.shape[1] * factor, self.heatmaps.shape[2] * factor

    def upsampled(self, ring: int) -> tuple[Upsampled, Upsampled]:
        """Heatmaps (K, 1, H, W) and tags (K or 1, T, H, W) on the grid."""
        heatmaps = Upsampled(self.heatmaps[:, None], self.heatmap_factors, ring)
        return heatmaps, Upsampled(self.tags, self.tag_factors)


def aggregate(
    outputs: Mapping[float, Sequence[FloatArray]],
    num_keypoints: int,
    flip_index: Sequence[int],
    grid: tuple[int, int] | None,
) -> Maps:
    """Merges what the network gave for one photograph.

    Heatmaps are averaged over strides, views and scales; tags come from scale 1 (or the only one),
    one from each view.

    Args:
        outputs: for each scale the network's outputs, coarse to fine: (V, K + T, h, w) heatmaps and
            tags, then (V, K, ·, ·) heatmaps. V is 1, or 2 when the second view is mirrored.
        num_keypoints: K.
        flip_index: for each keypoint the index of its mirror image.
        grid: height and width to decode at, or None for the finest map's of the largest scale.

    Raises:
        InputError: a map holds something that is no number.
    """
    flip = np.asarray(flip_index)
    merged = {scale: _merge(levels, num_keypoints, flip) for scale, levels in outputs.items()}
    return merge_scales(merged, grid)


def merge_scales(merged: Mapping[float, ScaleMaps], grid: tuple[int, int] | None) -> Maps:
    """Lays what was seen of one photograph at all scales over each other.

    Args:
        merged: for each scale.
        grid: height and width to decode at, or None for the finest map's of the largest scale.

    Raises:
        InputError: a map holds something that is no number.
    """
    grid = grid or merged[max(merged)].heatmaps.shape[1:]
    heatmaps, tags = merged[1 if 1 in merged else next(iter(merged))]
    tag_factors: tuple[int, ...] = ()
    for height, width in (heatmaps.shape[1:], grid):
        tags, tag_factors = _enlarge(tags, tag_factors, height, width)
    if len(merged) == 1:
        cells, factors = _enlarge(heatmaps[:, None], (), *grid)
        heatmaps = cells[:, 0]
    else:
        heatmaps, factors = _mean([resize(m.heatmaps, *grid) for m in merged.values()]), ()
    if not (np.isfinite(heatmaps.sum()) and np.isfinite(tags.sum())):
        raise InputError(
            "the network's maps hold NaN or infinity; try --precision f32, or other weights"
        )
    return Maps(heatmaps, tags, factors, tag_factors)


def _merge(levels: Sequence[FloatArray], num_keypoints: int, flip: FloatArray) -> ScaleMaps:
    """One scale's outputs, merged over views and strides."""
    return ScaleMaps(
        _merge_strides(levels, num_keypoints, flip), _tags(levels[0], num_keypoints, flip)
    )


def _merge_strides(
    outputs: Sequence[FloatArray], num_keypoints: int, flip: FloatArray
) -> FloatArray:
    """One scale's heatmaps, averaged over views and strides: (K, h, w) of the finest."""
    levels = [_merge_views(output[:, :num_keypoints], flip) for output in outputs]
    height, width = levels[-1].shape[1:]
    return _mean([resize(level, height, width) for level in levels])


def _merge_views(views: FloatArray, flip: FloatArray) -> FloatArray:
    """(V, K, h, w) → (K, h, w); flipping before enlarging is the same and touches fewer cells."""
    return views[0] if len(views) == 1 else _mean([views[0], mirror(views[1])[flip]])


def _mean(maps: Sequence[FloatArray]) -> FloatArray:
    if len(maps) == 1:
        return maps[0]
    total = maps[0] + maps[1]
    for other in maps[2:]:
        total += other
    total /= len(maps)
    return total


def _tags(coarse: FloatArray, num_keypoints: int, flip: FloatArray) -> FloatArray:
    """(V, K + T, h, w) → (K or 1, V, h, w)."""
    tags = coarse[:, num_keypoints:]
    mirrored = tags[1:, flip if tags.shape[1] > 1 else slice(None), :, ::-1]
    return np.concatenate([tags[:1], mirrored]).transpose(1, 0, 2, 3)


def _enlarge(
    maps: FloatArray, factors: tuple[int, ...], height: int, width: int
) -> tuple[FloatArray, tuple[int, ...]]:
    """Notes a bilinear enlargement of (K, T, h, w) by a whole factor, or does any other."""
    done = math.prod(factors)
    h, w = maps.shape[2] * done, maps.shape[3] * done
    factor = height // h
    if (h * factor, w * factor) == (height, width) and BLOCK % (done * factor) == 0:
        return maps, (*factors, factor)
    flat = maps.reshape(-1, *maps.shape[2:])
    for f in factors:
        flat = resize(flat, flat.shape[1] * f, flat.shape[2] * f)
    return resize(flat, height, width).reshape(*maps.shape[:2], height, width), ()
