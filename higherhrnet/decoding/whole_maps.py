"""Resizes and flips whole maps."""

from __future__ import annotations

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray


def resize(maps: FloatArray, height: int, width: int, *, align_corners: bool = False) -> FloatArray:
    """Resizes maps bilinearly; maps that have the size already are returned as they are.

    Args:
        maps: (N, h, w).
        height: the new height.
        width: the new width.
        align_corners: align the centers of the corner cells instead of the outer edges.

    Returns:
        (N, height, width).
    """
    if maps.shape[1:] == (height, width):
        return maps
    if align_corners:
        return _resize_axis(_resize_axis(maps, 1, height), 2, width)
    resized = np.empty((len(maps), height, width), np.float32)
    for source, target in zip(maps, resized, strict=True):
        cv2.resize(source, (width, height), target, interpolation=cv2.INTER_LINEAR)
    return resized


def _resize_axis(maps: FloatArray, axis: int, size: int) -> FloatArray:
    """Interpolates along one axis, so that the first and the last cells keep their values."""
    cells = maps.shape[axis]
    source = np.linspace(0, cells - 1, size)
    before = np.minimum(source.astype(np.intp), max(cells - 2, 0))
    shape = [size if i == axis else 1 for i in range(maps.ndim)]
    weight = (source - before).astype(np.float32).reshape(shape)
    first, second = maps.take(before, axis), maps.take(np.minimum(before + 1, cells - 1), axis)
    second -= first
    second *= weight
    second += first
    return np.asarray(second)


def flip_horizontally(maps: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Flips contiguous (N, h, w) maps, into `out` if given; several times faster than NumPy."""
    width = maps.shape[-1]
    rows = None if out is None else out.reshape(-1, width)
    return np.asarray(cv2.flip(maps.reshape(-1, width), 1, rows), np.float32).reshape(maps.shape)
