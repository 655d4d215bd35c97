"""The network's outputs → the heatmaps and tags of an image; it corresponds to `aggregate.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from higherhrnet.config.header import Header
from higherhrnet.decoding.upsample import BLOCK
from higherhrnet.geometry import main_scale
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor


@dataclass(frozen=True)
class TagMaps:
    """The maps of one image, at the smallest size from which they can be computed."""

    heatmaps: Tensor
    """(K, 1, h, w)."""
    heatmap_factors: tuple[int, ...]
    """Factors by which the heatmaps are upsampled, one after the other."""
    tags: Tensor
    """(K or 1, T, h', w')."""
    tag_factors: tuple[int, ...]
    """The same for the tags."""
    size: float
    """Pixels of these maps, upsampled, per pixel of the network's input at scale 1."""
    num_tags: int
    """T: one for each view, and two for positions."""


def merge_maps(
    program: Program, scales: Mapping[float, Sequence[Tensor]], header: Header
) -> TagMaps:
    """Merges strides, views and scales.

    Args:
        program: the program.
        scales: for each scale the network's outputs, coarse to fine, as in `aggregate.merge_views`.
        header: the header of the model.
    """
    heatmaps, factors, size = merge_heatmaps(program, scales, header)
    finest, coarsest = min(header.model.strides), max(header.model.strides)
    base = main_scale(scales)
    tags = _tags(program, scales[base][0], header)
    tag_factors: tuple[int, ...] = ()
    for factor in (coarsest / finest, size * finest):
        tags, tag_factors = _upsample(tags, tag_factors, factor)
    num_tags = 1 + header.inference.flip + 2 * (header.inference.decode.position_weight > 0)
    return TagMaps(heatmaps, factors, tags, tag_factors, size, num_tags)


def merge_heatmaps(
    program: Program, scales: Mapping[float, Sequence[Tensor]], header: Header
) -> tuple[Tensor, tuple[int, ...], float]:
    """Merges the heatmaps of strides, views and scales.

    Returns:
        The heatmaps, their factors and their size; see `TagMaps`.
    """
    finest = min(header.model.strides)
    base = main_scale(scales)
    sizes = {scale: scale / base / finest for scale in scales}  # of heatmaps, as `TagMaps.size`
    size = 1.0 if header.inference.project else max(sizes.values())
    merged = {scale: _heatmaps(program, levels, header) for scale, levels in scales.items()}
    factors: tuple[int, ...] = ()
    if len(merged) == 1:
        heatmaps, factors = _upsample(merged[base], (), size / sizes[base])
    else:
        resized = [resize(maps, size / sizes[scale]) for scale, maps in merged.items()]
        heatmaps = _mean(resized)
    return heatmaps.transpose(1, 0, 2, 3), factors, size


def resize(maps: Tensor, factor: float) -> Tensor:
    """Resizes (N, C, h, w) maps bilinearly by a factor."""
    if factor == 1:
        return maps
    scales = np.array([1, 1, factor, factor], np.float32)
    return maps.op("Resize", None, scales, mode="linear")


def unflip(maps: Tensor, header: Header, count: int) -> Tensor:
    """Flips (count, h, w) maps of the flipped view back; `count` is that of keypoints or 1."""
    flipped = maps.flip(2)
    return flipped.take(np.array(header.skeleton.flip_index)) if count > 1 else flipped


def _heatmaps(program: Program, levels: Sequence[Tensor], header: Header) -> Tensor:
    """Averages the heatmaps of all strides and views: (1, K, h, w) at the size of the finest."""
    count, strides = len(header.skeleton), header.model.strides[: len(levels)]
    means = []
    for level, stride in zip(levels, strides, strict=True):
        views = [level.take(np.int64(view)) for view in range(1 + header.inference.flip)]
        views = [view.part(0, count) for view in views] if level is levels[0] else views
        views[1:] = [unflip(view, header, count) for view in views[1:]]
        means.append(resize(_mean(views).expand_dims(0), stride / min(strides)))
    return _mean(means)


def _tags(program: Program, level: Tensor, header: Header) -> Tensor:
    """Returns (K or 1, T, h, w) tags of each view, and positions if they are tags, too."""
    count, tags = len(header.skeleton), header.model.num_tags
    views = [
        level.take(np.int64(view)).part(count, count + tags)
        for view in range(1 + header.inference.flip)
    ]
    views[1:] = [unflip(view, header, tags) for view in views[1:]]
    if weight := header.inference.decode.position_weight:
        shape = [level.size(axis) for axis in (2, 3)]
        unit = program.constant(np.float32(weight)) / shape[0].op("Min", shape[1]).cast(np.float32)
        y, x = (program.arange(side).cast(np.float32) * unit for side in shape)
        full = program.shape(tags, *shape)
        views += [axis.op("Expand", full) for axis in (x, y.expand_dims(1))]
    return program.stack(views, 1)


def _mean(maps: Sequence[Tensor]) -> Tensor:
    total = maps[0]
    for other in maps[1:]:
        total = total + other
    return total / len(maps) if len(maps) > 1 else total


def _upsample(
    maps: Tensor, factors: tuple[int, ...], factor: float
) -> tuple[Tensor, tuple[int, ...]]:
    """Upsamples maps, on demand where `Upsampled` supports it; see `aggregate.merge_scales`."""
    if factor == int(factor) and BLOCK % (prod(factors) * int(factor)) == 0:
        return maps, (*factors, int(factor))
    for earlier in factors:
        maps = resize(maps, earlier)
    return resize(maps, factor), ()
