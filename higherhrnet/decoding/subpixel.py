"""The positions of peaks between pixels: three ways to compute them."""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import DoubleArray, FloatArray, IndexArray
from higherhrnet.decoding.upsample import PixelReader

_MIN, _MAX = 0.001, 50.0
"""The range of heatmap values whose logarithms are computed."""


def adjust_keypoints(
    heatmaps: PixelReader, k: IndexArray, x: IndexArray, y: IndexArray, first_center: float = 0.5
) -> FloatArray:
    """Moves keypoints from the centers of their pixels toward the higher neighbors.

    Each coordinate moves by a quarter of a pixel, as in the reference implementation; if both
    neighbors are equal, toward the lower index.

    Args:
        heatmaps: (K, 1, h, w).
        k: (M,) indices of the keypoints.
        x: (M,) columns of their pixels.
        y: (M,) rows of their pixels.
        first_center: the coordinate of the center of the first pixel.

    Returns:
        (M, 2) x and y in pixels.
    """
    after, before = _neighbors(heatmaps, k, x, y)
    step = np.where(after > before, 0.25, -0.25)
    return np.asarray(np.stack([x, y]) + step + first_center, np.float32).T


def locate_by_parabola(
    heatmaps: PixelReader, k: IndexArray, x: IndexArray, y: IndexArray
) -> FloatArray:
    """Locates peaks at the maxima of parabolas through them and their neighbors.

    Args:
        heatmaps: (K, 1, h, w).
        k: (N,) indices of the keypoints.
        x: (N,) columns of the peaks.
        y: (N,) rows of the peaks.

    Returns:
        (N, 2) x and y, where the center of the first pixel is at 0, at most half a pixel from the
        peak.
    """
    after, before = _neighbors(heatmaps, k, x, y)
    curvature = 2 * heatmaps.at(k, y, x).T - after - before
    steps = (after - before) / (2 * np.maximum(curvature, np.finfo(np.float32).tiny))
    steps = np.where(curvature > 0, steps, 0).clip(-0.5, 0.5)
    return np.asarray((np.stack([x, y]) + steps).T, np.float32)


def _neighbors(
    heatmaps: PixelReader, k: IndexArray, x: IndexArray, y: IndexArray
) -> tuple[FloatArray, FloatArray]:
    """Reads the pixels after and before given ones, each (2, M): right and below, left and above.

    Beyond the edges, the outermost pixels are repeated.
    """
    right, left = np.minimum(x + 1, heatmaps.width - 1), np.maximum(x - 1, 0)
    below, above = np.minimum(y + 1, heatmaps.height - 1), np.maximum(y - 1, 0)
    rows, columns = np.concatenate([y, below, y, above]), np.concatenate([right, x, left, x])
    after, before = heatmaps.at(np.tile(k, 4), rows, columns).reshape(2, 2, -1)
    return after, before


def locate_by_newton(
    heatmaps: PixelReader, k: IndexArray, x: IndexArray, y: IndexArray
) -> FloatArray:
    """Locates peaks by one step of Newton's method, as MMPose does for UDP weights.

    The heatmap around a keypoint is a Gaussian, whose logarithm is a quadratic function. A step
    from the peak's pixel finds its maximum (DARK, Zhang et al., CVPR 2020).

    Beyond the edges, maps are mirrored at the centers of the outermost pixels, so that a peak at
    such a center stays there; MMPose repeats the outermost pixels, which moves it outside by half a
    pixel. Positions differ from the peak's pixel by at most 1.

    Args:
        heatmaps: (K, 1, h, w).
        k: (M,) indices of the keypoints.
        x: (M,) columns of the peaks.
        y: (M,) rows of the peaks.

    Returns:
        (M, 2) x and y in pixels; the center of the first pixel is at 0.
    """
    rows, columns = _mirrored(y, heatmaps.height), _mirrored(x, heatmaps.width)
    grid = (k[:, None, None], rows[:, :, None], columns[:, None, :])
    pixels = heatmaps.at(*(np.ravel(index) for index in np.broadcast_arrays(*grid)))
    values: DoubleArray = pixels.astype(np.float64).reshape(-1, 5, 5)
    values = (values[:, :-2] + 2 * values[:, 1:-1] + values[:, 2:]) / 4
    values = (values[:, :, :-2] + 2 * values[:, :, 1:-1] + values[:, :, 2:]) / 4
    # f[j][i] is at row y + j - 1 and column x + i - 1.
    f = np.log(values.clip(_MIN, _MAX)).transpose(1, 2, 0)
    dx, dy = (f[1, 2] - f[1, 0]) / 2, (f[2, 1] - f[0, 1]) / 2
    dxx, dyy = f[1, 2] - 2 * f[1, 1] + f[1, 0], f[2, 1] - 2 * f[1, 1] + f[0, 1]
    dxy = (f[2, 2] - f[1, 2] - f[2, 1] + 2 * f[1, 1] - f[1, 0] - f[0, 1] + f[0, 0]) / 2
    determinant = dxx * dyy - dxy**2
    has_maximum = (dxx < 0) & (determinant > 0)
    step = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy])
    step /= np.where(has_maximum, determinant, np.inf)
    positions: FloatArray = (np.stack([x, y]) + step.clip(-1, 1)).astype(np.float32)
    return positions.T


def _mirrored(center: IndexArray, size: int) -> IndexArray:
    """Returns (M, 5) the pixels around centers, mirrored at the outermost pixels."""
    pixels = np.abs(center[:, None] + np.arange(-2, 3))
    return np.asarray(np.minimum(pixels, 2 * (size - 1) - pixels))
