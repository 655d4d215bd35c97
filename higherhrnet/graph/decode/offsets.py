"""Decoding by centers and offsets; it corresponds to `decoding/offsets/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from higherhrnet.config.header import Header
from higherhrnet.decoding.offsets.offset_decoder import (
    MIN_KEYPOINT_SCORE,
    NMS_DISTANCE,
    NMS_DISTANCE_SCALES,
)
from higherhrnet.errors import require
from higherhrnet.geometry import FIRST_PIXEL_CENTER, main_scale
from higherhrnet.graph.decode.pose_nms import suppress_poses
from higherhrnet.graph.decode.preprocess import View, to_image
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.rescore import rescore
from higherhrnet.graph.decode.tensor import Tensor

_STRIDE = 4
"""Pixels of the network's input per cell."""
_LARGE_MAPS = 200, 300
"""As in `decoding/offsets/centers.py`."""


class ScaleOffsets(NamedTuple):
    """The maps of one scale, averaged over the views."""

    heatmaps: Tensor
    """(K + 1, h, w) heatmaps; the last one is that of the centers."""
    offsets: Tensor
    """(2K, h, w) offsets in cells: for each keypoint x, then y."""
    stride: float
    """Pixels of the network's input at scale 1 per cell."""


def check_offset_settings(header: Header) -> None:
    """Raises InputError if a setting of the header is not supported."""
    require(
        not header.inference.decode.offsets.match,
        "--decode does not support matching (inference.decode.offsets.match); export a model whose "
        "header turns it off, or export without --decode",
    )


def decode_offsets(
    program: Program,
    scales: Mapping[float, Sequence[Tensor]],
    views: Mapping[float, View],
    header: Header,
) -> tuple[Tensor, Tensor]:
    """Finds the people of one image; see `tags.decode_tags`. Every person has all keypoints."""
    config, count = header.inference.decode, len(header.skeleton)
    base = main_scale(scales)
    maps = {
        scale: _merge_views(program, scales[scale], header, _STRIDE * base / scale)
        for scale in sorted(scales, reverse=True)
    }
    x, y, centers = _regress(program, maps, base, header)
    heat = _heat_values(program, x, y, maps, base, header)
    distance, near = config.offsets.nms_distance, config.offsets.nms_keypoints
    if distance is None:
        distance = NMS_DISTANCE if len(maps) == 1 else NMS_DISTANCE_SCALES
    mean = heat.sum(1) / count
    kept = suppress_poses(
        program,
        program.stack([x, y], 2),
        mean,
        distance,
        count // 2 if near is None else near,
        config.offsets.nms_order,
        config.max_people,
    )
    keypoint_scores = heat.take(kept) * centers.take(kept).expand_dims(1)
    scores = keypoint_scores.sum(1) / count
    smallest = min(views)
    positions = [axis.take(kept) for axis in (x, y)]
    positions = to_image(positions, views[smallest], smallest / base, header)
    if header.rescoring and config.offsets.rescore:
        view, network = views[smallest], header.rescoring
        scores = rescore(program, positions, keypoint_scores, scores, view, network)
    keypoint_scores = keypoint_scores.op("Max", MIN_KEYPOINT_SCORE)
    return program.stack([*positions, keypoint_scores], 2), scores


def _merge_views(
    program: Program, levels: Sequence[Tensor], header: Header, stride: float
) -> ScaleOffsets:
    """Averages the views of one scale; see `offset_maps.merge_views`."""
    views = range(1 + header.inference.flip)
    heatmaps, *flipped = (levels[0].take(np.int64(view)) for view in views)
    if flipped:
        index = np.append(header.skeleton.flip_index, len(header.skeleton))
        heatmaps = (heatmaps + flipped[0].flip(2).take(index)) * 0.5
    offsets = average_offsets([levels[1].take(np.int64(view)) for view in views], header)
    return ScaleOffsets(heatmaps, offsets, stride)


def average_offsets(views: Sequence[Tensor], header: Header) -> Tensor:
    """Averages the (2K, h, w) offsets of the views; the second view is flipped."""
    if len(views) == 1:
        return views[0]
    index = np.array(header.skeleton.flip_index)
    signs = np.tile(np.array([-1, 1], np.float32), len(index)).reshape(-1, 1, 1)
    flipped = views[1].flip(2).take((2 * index[:, None] + np.arange(2)).ravel()) * signs
    return (views[0] + flipped) * 0.5


def _regress(
    program: Program, maps: Mapping[float, ScaleOffsets], base: float, header: Header
) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the poses at the centers of all scales; see `offset_decoder.regress_poses`.

    Returns:
        (P, K) x and y in pixels of the network's input at scale 1, and (P,) values of the centers.
    """
    config = header.inference.decode
    minimum, center = config.offsets.min_center, np.int64(len(header.skeleton))
    found = {
        scale: regress_at_centers(
            program, m.heatmaps.take(center), m.offsets, m.stride, minimum, header
        )
        for scale, m in maps.items()
    }
    zero = program.constant(np.zeros(1, np.float32))
    highest = {scale: program.concat([poses[2], zero]).max(0) for scale, poses in found.items()}
    reference = program.where(highest[base] > 0, highest[base], np.float32(1))
    for scale, (x, y, centers) in found.items():
        if scale != base:
            factor = reference * config.offsets.other_scales / highest[scale]
            found[scale] = (x, y, centers * factor)
    x, y, centers = (program.concat(parts) for parts in zip(*found.values(), strict=True))
    return x, y, centers


def regress_at_centers(
    program: Program,
    heatmap: Tensor,
    offsets: Tensor,
    stride: float,
    min_center: float,
    header: Header,
) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the centers of one scale, from high to low, and the poses at them.

    Args:
        program: the program.
        heatmap: (h, w) heatmap of the centers.
        offsets: (2K, h, w) offsets in cells.
        stride: pixels of the result per cell.
        min_center: the value that a center must exceed.
        header: the header of the model.

    Returns:
        (P, K) x and y in pixels, and (P,) values of the centers.
    """
    config, first = header.inference.decode, FIRST_PIXEL_CENTER[header.input.convention]
    height, width = heatmap.size(0), heatmap.size(1)
    mean_side = (height + width).cast(np.float32) / 2
    repeats = program.constant(np.int64(1))
    for limit in _LARGE_MAPS:
        repeats = repeats + (mean_side > limit).cast(np.int64)

    def widen(_index: Tensor, maxima: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        pooled = maxima.op("MaxPool", kernel_shape=[3, 3], pads=[1] * 4)
        return [pooled.reshape(1, 1, height, width)], []

    maxima = program.loop(repeats, [heatmap.reshape(1, 1, height, width)], widen)[0]
    values = heatmap.reshape(-1)
    is_peak = values.equals(maxima.reshape(-1)) & (values > min_center)
    cells = is_peak.nonzero()
    count = cells.size(0).op("Min", config.max_people)
    centers, order = program.top_k(values.take(cells), count)
    cells = cells.take(order)
    at_centers = offsets.reshape(-1, 2, height * width).take(cells, 2)  # (K, 2, P)
    axes = []
    for axis, position in enumerate((cells % width, cells // width)):
        offset = at_centers.take(np.int64(axis), 1).transpose(1, 0)
        axes.append((position.cast(np.float32).expand_dims(1) - offset + first) * stride)
    return axes[0], axes[1], centers


def _heat_values(
    program: Program,
    x: Tensor,
    y: Tensor,
    maps: Mapping[float, ScaleOffsets],
    base: float,
    header: Header,
) -> Tensor:
    """Reads (P, K) heatmap values at the pixels of keypoints; see `OffsetMaps.heatmap_values`."""
    size = [maps[base].heatmaps.size(axis).cast(np.float64) * _STRIDE for axis in (1, 2)]
    first = FIRST_PIXEL_CENTER[header.input.convention]
    pixels = [
        axis.op("Floor").cast(np.float64).clip(0, length - 1)
        for axis, length in zip((y, x), size, strict=True)
    ]
    total: Tensor | None = None
    for scale in maps.values():
        rows, columns = ((pixel + first) / scale.stride - first for pixel in pixels)
        values = _interpolate(program, scale.heatmaps, rows, columns, len(header.skeleton))
        total = values if total is None else total + values
    assert total is not None
    return total / len(maps)


def _interpolate(program: Program, maps: Tensor, y: Tensor, x: Tensor, count: int) -> Tensor:
    """Reads (K + 1, h, w) maps bilinearly at (P, K) positions in cells."""
    height, width = maps.size(1), maps.size(2)
    flat = maps.reshape(-1)
    axes = []
    for position, length in ((y, height), (x, width)):
        inside = position.clip(0, (length - 1).cast(np.float64))
        before = inside.cast(np.int64)
        weight = (inside - before.cast(np.float64)).cast(np.float32)
        after = (before + 1).op("Min", length - 1)
        axes.append(((before, program.constant(np.float32(1)) - weight), (after, weight)))
    start = program.constant(np.arange(count)) * (height * width)
    total: Tensor | None = None
    for row, down in axes[0]:
        for column, across in axes[1]:
            part = flat.take(start + row * width + column) * (down * across)
            total = part if total is None else total + part
    assert total is not None
    return total
