"""Targets: annotated keypoints → heatmaps, loss masks and tag positions, on the network's device.

Data loaders pass keypoints to the training process. Heatmaps are rendered there, without loops,
because they are a thousand times larger than the keypoints and take only a few milliseconds.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from higherhrnet.config.training import TargetConfig
from higherhrnet.data.loader import Batch
from higherhrnet.geometry import Convention

_MIN_SIGMA = 0.5
"""The smallest sigma of a person, in map cells."""


class Targets(NamedTuple):
    """The training targets of a batch of B images, with P people and K keypoints."""

    heatmaps: list[Tensor]
    """(B, K, h, w) float32 for each output, coarsest first: a Gaussian of height 1 at each
    keypoint."""
    masks: list[Tensor]
    """(B, K, h, w) bool for each output: the cells that the heatmap loss includes."""
    tag_cells: Tensor
    """(B, P, K) int64: the cell of each keypoint on the coarsest maps, as row · w + column; 0 where
    it is not visible."""
    visible: Tensor
    """(B, P, K) bool: the keypoints that are labeled and on the map."""


def make_targets(batch: Batch, config: TargetConfig, convention: Convention) -> Targets:
    """Computes the targets of a batch ("HigherHRNet", section 3, "Multi-Resolution Supervision").

    Args:
        batch: the batch; its masks determine the strides.
        config: the standard deviation of the Gaussians.
        convention: the pixel convention.
    """
    sigma: float | Tensor = config.sigma
    max_sigma = config.sigma
    if config.scale_aware:
        sigma = person_sigmas(batch.sizes, config.sigma, config.scale_base)
        largest = torch.tensor(batch.largest)
        max_sigma = person_sigmas(largest, config.sigma, config.scale_base).item()
    heatmaps, masks, keypoints = [], [], []
    for mask in batch.masks:
        height, width = mask.shape[1:]
        stride = batch.images.shape[3] // width
        cells = to_map_coordinates(batch.keypoints, batch.flipped, stride, width, convention)
        heatmaps.append(render_heatmaps(cells, height, width, sigma, convention, max_sigma))
        masks.append(mask[:, None] & batch.labeled[:, :, None, None])
        keypoints.append(cells)
    height, width = batch.masks[0].shape[1:]
    column, row, visible = cell_indices(keypoints[0], height, width, convention)
    return Targets(heatmaps, masks, (row * width + column).where(visible, 0), visible)


def to_map_coordinates(
    keypoints: Tensor, flipped: Tensor, stride: int, width: int, convention: Convention
) -> Tensor:
    """Converts keypoints from coordinates of the input to those of a map.

    A keypoint with 2 ≤ x < 3 is in column 2 of the map.

    Args:
        keypoints: (B, P, K, 3) x and y in input pixels of the images before they are flipped, and
            visibility.
        flipped: (B,) the images that are flipped. Their keypoints are flipped on the map: in the
            convention `reference`, x becomes width - 1 - x at every stride.
        stride: input pixels per map cell.
        width: width of the map in cells.
        convention: the pixel convention.

    Returns:
        (B, P, K, 3) x and y in map cells, and visibility.
    """
    x, y, visibility = keypoints.unbind(-1)
    x, y = x / stride, y / stride
    flipped_x = (width - 1 if convention == "reference" else width) - x
    x = torch.where(flipped[:, None, None], flipped_x, x)
    return torch.stack([x, y, visibility], -1)


def cell_indices(
    keypoints: Tensor, height: int, width: int, convention: Convention
) -> tuple[Tensor, ...]:
    """Finds the map cell of each keypoint.

    The reference implementation truncates toward zero, so that its first row and column include
    keypoints less than a cell outside of the map.

    Args:
        keypoints: (B, P, K, 3) as `to_map_coordinates` returns them.
        height: height of the map in cells.
        width: width of the map in cells.
        convention: the pixel convention.

    Returns:
        (B, P, K) column and row, int64, and whether the keypoint is visible and on the map, bool.
    """
    xy = keypoints[..., :2]
    column, row = (xy.trunc() if convention == "reference" else xy.floor()).long().unbind(-1)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    return column, row, inside & (keypoints[..., 2] > 0)


def render_heatmaps(
    keypoints: Tensor,
    height: int,
    width: int,
    sigma: float | Tensor,
    convention: Convention,
    max_sigma: float | None = None,
) -> Tensor:
    """Renders a Gaussian of height 1 at each keypoint; where several overlap, the maximum.

    The Gaussian is centered on a cell in the convention `reference`, and on the keypoint itself in
    `unbiased`. It is cut off at three sigma and a cell.

    Args:
        keypoints: (B, P, K, 3) as `to_map_coordinates` returns them.
        height: height of the maps in cells.
        width: width of the maps in cells.
        sigma: standard deviation in cells: one for all, or (B, P) one for each person.
        convention: the pixel convention.
        max_sigma: an upper bound of sigma; None: it is computed, which makes a GPU synchronize.

    Returns:
        (B, K, height, width) float32, 0 to 1.
    """
    column, row, visible = cell_indices(keypoints, height, width, convention)
    sigmas = torch.as_tensor(sigma, dtype=keypoints.dtype, device=keypoints.device)
    if max_sigma is None:
        max_sigma = max(sigmas.flatten().tolist(), default=0.0)
    offsets = torch.arange(ceil(6 * max_sigma) + 4, device=keypoints.device)
    sigmas = sigmas.expand(visible.shape[:2])[..., None]
    profiles = []
    for cell, exact, size in ((column, keypoints[..., 0], width), (row, keypoints[..., 1], height)):
        center = cell.to(keypoints.dtype) if convention == "reference" else exact - 0.5
        first = (center - 3 * sigmas - 1).round()
        end = (center + 3 * sigmas + 2).round()
        indices = first[..., None].long() + offsets  # (B, P, K, W)
        if convention == "reference":  # which rounds the window to cells, but not the Gaussian
            center = first + 3 * sigmas + 1
        value = torch.exp(-((indices - center[..., None]) ** 2) / (2 * sigmas[..., None] ** 2))
        inside = (indices >= 0) & (indices < size) & (indices < end[..., None])
        profiles.append((indices.clamp(0, size - 1), value * inside))
    horizontal, vertical = profiles
    return combine_profiles(horizontal, vertical, visible, height, width)


def combine_profiles(
    horizontal: tuple[Tensor, Tensor],
    vertical: tuple[Tensor, Tensor],
    visible: Tensor,
    height: int,
    width: int,
) -> Tensor:
    """Multiplies two profiles of each Gaussian; where several overlap, takes the maximum.

    Args:
        horizontal: (B, P, K, W) columns on the map, int64, and the values there.
        vertical: the same for rows.
        visible: (B, P, K) bool: the keypoints that are rendered.
        height: height of the maps in cells.
        width: width of the maps in cells.

    Returns:
        (B, K, height, width) float32.
    """
    (columns, x_values), (rows, y_values) = horizontal, vertical
    batch, _, num_keypoints = visible.shape
    values = (y_values[..., :, None] * x_values[..., None, :] * visible[..., None, None]).float()
    maps = torch.arange(batch * num_keypoints, device=visible.device)
    maps = maps.view(batch, 1, num_keypoints, 1, 1)
    positions = (maps * height + rows[..., :, None]) * width + columns[..., None, :]
    heatmaps = values.new_zeros(batch * num_keypoints * height * width)
    heatmaps.scatter_reduce_(0, positions.flatten(), values.flatten(), "amax")
    return heatmaps.view(batch, num_keypoints, height, width)


def person_sigmas(sizes: Tensor, sigma: float, base: float) -> Tensor:
    """Computes the sigma of each person in proportion to their size, at least half a cell.

    Args:
        sizes: (B, P) longer side of each person's box in input pixels.
        sigma: standard deviation in map cells for a person of size `base`.
        base: a size in input pixels.

    Returns:
        (B, P) standard deviations in map cells.
    """
    return (sizes * (sigma / base)).clamp_min(_MIN_SIGMA)
