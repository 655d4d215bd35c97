"""Targets of networks that predict offsets: annotated people → heatmaps, offsets and weights.

"Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression" (DEKR, CVPR 2021), section 3.
They are computed on the network's device, as those of `targets`.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from higherhrnet.config.offsets import OffsetTargetConfig
from higherhrnet.config.training import TargetConfig
from higherhrnet.data.loader import Batch
from higherhrnet.geometry import FIRST_PIXEL_CENTER, Convention
from higherhrnet.training.targets import cell_indices, combine_profiles, to_map_coordinates

_MIN_DIAGONAL = 32**0.5
"""The smallest diagonal of the box of a person, in map cells, by which the loss is divided. MMPose
does not learn the offsets of smaller people."""

_ROUND_TRIP = 1 - 1e-12
"""Keeps the square of a square root in float64 from exceeding the number."""


class OffsetTargets(NamedTuple):
    """The training targets of a batch of B images, with K keypoints, on maps of h × w cells."""

    heatmaps: Tensor
    """(B, K + 1, h, w) float32: a Gaussian of height 1 at each keypoint, then at each center."""
    heatmap_weights: Tensor
    """(B, K + 1, h, w) float32: the weight of each cell in the heatmap loss, 0 if it is ignored."""
    offsets: Tensor
    """(B, 2K, h, w) float32: x and y in cells of a cell minus the keypoint of the person whose
    center is near the cell; 0 elsewhere."""
    offset_weights: Tensor
    """(B, 2K, h, w) float32: the weight of each offset in the loss, 0 where there is none."""


def make_offset_targets(
    batch: Batch, config: TargetConfig, convention: Convention
) -> OffsetTargets:
    """Computes the targets of a batch.

    Args:
        batch: the batch, whose last keypoint is the center; its only mask determines the stride.
        config: the settings of Gaussians and offsets.
        convention: the pixel convention.
    """
    (mask,) = batch.masks
    height, width = mask.shape[1:]
    stride = batch.images.shape[3] // width
    points = to_map_coordinates(batch.keypoints, batch.flipped, stride, width, convention)
    sizes = batch.sizes
    if config.offsets.size == "box":
        sizes = (sizes / stride).clamp_min(_MIN_DIAGONAL)
    heatmaps = torch.cat(
        [
            render_gaussians(part, height, width, sigma, convention)
            for part, sigma in (
                (points[:, :, :-1], config.sigma),
                (points[:, :, -1:], config.offsets.center_sigma),
            )
        ],
        1,
    )
    weights = torch.where(heatmaps > 0, 1.0, config.offsets.background)
    weights *= mask[:, None] & batch.labeled[:, :, None, None]
    offsets = render_offsets(points, sizes, height, width, config.offsets, convention)
    return OffsetTargets(heatmaps, weights, *offsets)


def render_gaussians(
    points: Tensor, height: int, width: int, sigma: float, convention: Convention
) -> Tensor:
    """Renders a Gaussian of height 1 at each exact position; where several overlap, the maximum.

    Values are above 0 within three sigma and about two cells, and 0 outside.

    Args:
        points: (B, P, K, 3) x and y in map cells, and visibility.
        height: height of the maps in cells.
        width: width of the maps in cells.
        sigma: standard deviation in cells.
        convention: the pixel convention.

    Returns:
        (B, K, height, width) float32, 0 to 1.
    """
    visible = _are_on_map(points, height, width)
    steps = torch.arange(ceil(6 * sigma) + 5, device=points.device)
    profiles = []
    for exact, size in ((points[..., 0], width), (points[..., 1], height)):
        center = exact - FIRST_PIXEL_CENTER[convention]
        first, end = (center - 3 * sigma - 1).floor(), (center + 3 * sigma + 2).ceil()
        cells = first[..., None] + steps  # (B, P, K, W)
        values = torch.exp(-((cells - center[..., None]) ** 2) / (2 * sigma**2))
        values *= (cells >= 0) & (cells < size) & (cells < end[..., None])
        profiles.append((cells.long().clamp(0, size - 1), values))
    horizontal, vertical = profiles
    return combine_profiles(horizontal, vertical, visible, height, width)


def render_offsets(
    points: Tensor,
    sizes: Tensor,
    height: int,
    width: int,
    config: OffsetTargetConfig,
    convention: Convention,
) -> tuple[Tensor, Tensor]:
    """Writes the offsets of each person in a square around the center, one person after another.

    Args:
        points: (B, P, K + 1, 3) x and y in map cells, and visibility; the last is the center.
        sizes: (B, P) the size of each person, in float64 if its rounding is to have the effect that
            it has in the reference implementation; the weight of an offset is 1 / size.
        height: height of the maps in cells.
        width: width of the maps in cells.
        config: the side of the square, and what is compared where people overlap.
        convention: the pixel convention.

    Returns:
        (B, 2K, height, width) float32 offsets, and their weights, 0 where there is no offset.
    """
    batch, people, count = points.shape[0], points.shape[1], points.shape[2] - 1
    points = points.float()
    areas = sizes.square() * _ROUND_TRIP if config.overlap == "cell" else sizes.float().square()
    column, row, has_center = cell_indices(points[:, :, -1:], height, width, convention)
    visible = _are_on_map(points[:, :, :-1], height, width) & has_center
    around = torch.arange(-config.radius, config.radius, device=points.device)
    columns = (column + around)[..., None, :].expand(-1, -1, len(around), -1).flatten(2)
    rows = (row + around)[..., :, None].expand(-1, -1, -1, len(around)).flatten(2)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    # Cells outside of the map are one more cell at the end, which is removed.
    cells = torch.where(inside, rows * width + columns, height * width)  # (B, P, C)
    centers = torch.stack([columns, rows], 2) + FIRST_PIXEL_CENTER[convention]  # (B, P, 2, C)
    offsets = points.new_zeros(batch, count, 2, height * width + 1)
    written_areas = points.new_full((batch, count, height * width + 1), torch.inf)
    weights = torch.zeros_like(written_areas)
    for person in range(people):
        area = areas[:, person, None, None]
        weight = (1 / sizes[:, person, None, None]).float()
        values = centers[:, person, None] - points[:, person, :-1, :2, None]  # (B, K, 2, C)
        index = cells[:, person, None].expand(-1, count, -1)
        double = index[:, :, None].expand(-1, -1, 2, -1)
        old_offsets, old_areas = offsets.gather(3, double), written_areas.gather(2, index)
        seen = visible[:, person, :, None]
        if config.overlap == "keypoint":
            written = noted = (old_areas >= area) & seen
        else:
            written = _written_by_the_reference(old_offsets, old_areas, area, seen)
            noted = written.any(1, keepdim=True)
        offsets.scatter_(3, double, torch.where(written[:, :, None], values, old_offsets))
        weights.scatter_(2, index, torch.where(written, weight, weights.gather(2, index)))
        written_areas.scatter_(2, index, torch.where(noted, area.float(), old_areas))
    offsets, weights = offsets[..., :-1], weights[..., :-1].repeat_interleave(2, 1)
    shape = batch, 2 * count, height, width
    return offsets.reshape(shape), weights.reshape(shape)


def _written_by_the_reference(
    old_offsets: Tensor, old_areas: Tensor, area: Tensor, visible: Tensor
) -> Tensor:
    """Decides which offsets of a person the reference implementation writes.

    It notes one area for each cell, not for each keypoint, and in float32, so that after the first
    keypoint of a person in a cell, the noted area seems smaller than the person's if it was rounded
    down. An offset of exactly 0 counts as empty.

    Args:
        old_offsets: (B, K, 2, C) the offsets of earlier people in the cells around the center.
        old_areas: (B, K, C) float32, the areas that were noted there, equal for all keypoints.
        area: (B, 1, 1) the area of the person.
        visible: (B, K, 1) the keypoints of the person that have offsets.

    Returns:
        (B, K, C) bool.
    """
    is_empty = (old_offsets == 0).all(2)
    without_earlier = visible & (is_empty | (old_areas >= area))
    has_earlier = without_earlier.cumsum(1) - without_earlier.int() > 0
    is_rounded_up = area.float() >= area
    return visible & (is_empty | torch.where(has_earlier, is_rounded_up, old_areas >= area))


def _are_on_map(points: Tensor, height: int, width: int) -> Tensor:
    """Returns (B, P, K) whether points are visible and, without rounding, on the map."""
    x, y, visibility = points.unbind(-1)
    return (visibility > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
