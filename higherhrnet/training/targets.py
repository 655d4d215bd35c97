"""Keypoints → heatmaps and places of tags, on whatever device they are on, without a loop.

Loaders ship keypoints; a few milliseconds here make the megabytes of maps that follow from them.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from higherhrnet.config import Convention


def to_map_coordinates(
    keypoints: Tensor, flipped: Tensor, stride: int, width: int, convention: Convention
) -> Tensor:
    """Keypoints of the network's input → of a map: a keypoint with 2 ≤ x < 3 is in column 2.

    Args:
        keypoints: (B, P, K, 3) x, y in input pixels and visibility, as if nothing were mirrored.
        flipped: (B,) which images are mirrored: so are their keypoints then, on the map's own
            grid. By the original's convention that is `width - 1 - x` at every stride alike.
        stride: input pixels a cell.
        width: of the map.
        convention: how pixels are counted.
    """
    x, y, visibility = keypoints.unbind(-1)
    x, y = x / stride, y / stride
    mirrored = (width - 1 if convention == "reference" else width) - x
    x = torch.where(flipped[:, None, None], mirrored, x)
    return torch.stack([x, y, visibility], -1)


def cell_indices(
    cells: Tensor, height: int, width: int, convention: Convention
) -> tuple[Tensor, ...]:
    """Column, row, both (B, P, K) long, and which keypoints are visible and on the map.

    The original truncates towards zero, so its first row and column catch what is just outside.
    """
    xy = cells[..., :2]
    column, row = (xy.trunc() if convention == "reference" else xy.floor()).long().unbind(-1)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    return column, row, inside & (cells[..., 2] > 0)


def render_heatmaps(
    cells: Tensor,
    height: int,
    width: int,
    sigma: float | Tensor,
    convention: Convention,
    widest: float | None = None,
) -> Tensor:
    """(B, K, height, width): a Gaussian of height 1 at each keypoint, the highest where they meet.

    By the original's convention its middle is a cell's; unbiased, the keypoint itself. It is cut
    off at three sigma and a cell.

    Args:
        cells: (B, P, K, 3) as `to_map_coordinates` gives them.
        height: of the maps.
        width: of the maps.
        sigma: in cells; one for all, or (B, P), one a person.
        convention: how pixels are counted.
        widest: what no sigma exceeds, where asking a GPU for it would be slow.
    """
    batch, _, keypoints, _ = cells.shape
    column, row, seen = cell_indices(cells, height, width, convention)
    spread = torch.as_tensor(sigma, dtype=cells.dtype, device=cells.device)
    if widest is None:
        widest = max(spread.flatten().tolist(), default=0.0)
    offsets = torch.arange(ceil(6 * widest) + 4, device=cells.device)
    spread = spread.expand(seen.shape[:2])[..., None]
    profiles = []
    for cell, exact, size in ((column, cells[..., 0], width), (row, cells[..., 1], height)):
        middle = cell.to(cells.dtype) if convention == "reference" else exact - 0.5
        first = (middle - 3 * spread - 1).round()
        beyond = (middle + 3 * spread + 2).round()
        places = first[..., None].long() + offsets  # (B, P, K, W)
        if convention == "reference":  # whose window, not its Gaussian, is rounded to whole cells
            middle = first + 3 * spread + 1
        value = torch.exp(-((places - middle[..., None]) ** 2) / (2 * spread[..., None] ** 2))
        on_map = (places >= 0) & (places < size) & (places < beyond[..., None])
        profiles.append((places.clamp(0, size - 1), value * on_map))
    (columns, across), (rows, down) = profiles
    values = (down[..., :, None] * across[..., None, :] * seen[..., None, None]).float()
    image = torch.arange(batch * keypoints, device=cells.device).view(batch, 1, keypoints, 1, 1)
    places = (image * height + rows[..., :, None]) * width + columns[..., None, :]
    maps = values.new_zeros(batch * keypoints * height * width)
    maps.scatter_reduce_(0, places.flatten(), values.flatten(), "amax")
    return maps.view(batch, keypoints, height, width)


_LEAST_SIGMA = 0.5


def person_sigmas(sizes: Tensor, sigma: float, base: float) -> Tensor:
    """(B, P) sigma of each person, in cells, in proportion to their size; at least half a cell.

    Args:
        sizes: (B, P) longer side of each person's box, input pixels.
        sigma: of a person of size `base`.
        base: in input pixels.
    """
    return (sizes * (sigma / base)).clamp_min(_LEAST_SIGMA)
