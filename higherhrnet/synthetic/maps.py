"""Network outputs drawn without a network: any number of people, found again by decoding."""

from __future__ import annotations

from math import ceil, exp, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray
from higherhrnet.skeleton import COCO, Skeleton

Points = NDArray[np.float64]
"""(P, K, 2) x and y, from the map's upper left corner: the first pixel's centre is at 0.5."""

SIGMA = 2.0
"""Of the Gaussian around each keypoint, in cells, at both resolutions."""
PEAKS = 0.3, 0.95
MISSING = 0.25
NOISE = 0.01
TAG_GAP = 1.5, 2.0
"""Between one person's tag and the next; grouping tells people apart from 1 on."""
TAG_NOISE = 0.1
TAG_SIGMA = 0.7
"""Cells over which the tags of people side by side blend."""
TAG_REACH = 6.0
"""Cells around a person's keypoint that bear its tag."""


def draw_maps(
    people: int, height: int, width: int, seed: int, skeleton: Skeleton = COCO, flip: bool = True
) -> tuple[FloatArray, FloatArray]:
    """Outputs that a trained network might give for a photograph of P people.

    A quarter of the keypoints have no peak. All people's tags differ and reach a few cells around
    each of their keypoints, peak or not; elsewhere tags wander.

    Args:
        people: how many, P.
        height: of the network's input, a multiple of 4.
        width: of the network's input, a multiple of 4.
        seed: the same seed, the same maps.
        skeleton: whose keypoints.
        flip: give the mirrored photograph's outputs too, left and right changed over.

    Returns:
        Low, (V, 2K, H/4, W/4) heatmaps then tags, and high, (V, K, H/2, W/2) heatmaps; V is 2 with
        `flip`, the mirrored view last, else 1.
    """
    rng, num_keypoints = np.random.default_rng(seed), len(skeleton)
    keypoints = place_people(rng, people, num_keypoints, height, width)
    seen = rng.random((people, num_keypoints)) >= MISSING
    seen[:, 0] = True  # who is met later upsets the original's grouping: 30 people come out as 90
    peaks = rng.uniform(*PEAKS, seen.shape) * seen
    tags = rng.permutation(np.cumsum(rng.uniform(*TAG_GAP, people))) - spread(people)
    low_views, high_views = [], []
    for _ in range(1 + flip):
        heatmaps = draw_heatmaps(rng, keypoints / 4, peaks, height // 4, width // 4)
        tag_maps = draw_tags(rng, keypoints / 4, tags, height // 4, width // 4)
        low_views.append(np.concatenate([heatmaps, tag_maps]))
        high_views.append(draw_heatmaps(rng, keypoints / 2, peaks, height // 2, width // 2))
    low, high = np.stack(low_views), np.stack(high_views)
    if flip:
        index = np.array(skeleton.flip_index)
        low[1] = low[1, np.concatenate([index, index + num_keypoints]), :, ::-1]
        high[1] = high[1, index, :, ::-1]
    return low, high


def spread(people: int) -> float:
    """Half of what all people's tags range over, about."""
    return sum(TAG_GAP) / 4 * (people + 1)


def place_people(
    rng: np.random.Generator, people: int, num_keypoints: int, height: int, width: int
) -> Points:
    """A person a cell of a grid, keypoints anywhere in a box up to a tenth larger than the cell."""
    columns = max(1, ceil(sqrt(people * width / height)))
    rows = max(1, ceil(people / columns))
    cell = np.array([width / columns, height / rows])
    box = cell * rng.uniform(0.6, 1.1, (people, 1))
    corner = np.stack(np.divmod(np.arange(people), rows), 1) * cell
    corner += rng.random((people, 2)) * (cell - box)
    inside = rng.random((people, num_keypoints, 2))
    return np.asarray(corner[:, None] + inside * box[:, None])


def bells(
    keypoints: Points, sigma: float, height: int, width: int
) -> tuple[FloatArray, FloatArray]:
    """The (P, K, H) columns and (P, K, W) rows whose products are Gaussians at the keypoints."""
    x, y = keypoints[..., :1], keypoints[..., 1:]
    down = np.exp(-((np.arange(height) + 0.5 - y) ** 2) / (2 * sigma**2))
    across = np.exp(-((np.arange(width) + 0.5 - x) ** 2) / (2 * sigma**2))
    return down.astype(np.float32), across.astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> FloatArray:
    """(K, H, W) blurred white noise of mean about 0 and standard deviation 1."""
    white, side = rng.standard_normal(shape, np.float32), 2 * round(4 * sigma) + 1
    noise = np.stack(
        [cv2.GaussianBlur(k, (side, side), sigma, borderType=cv2.BORDER_REFLECT) for k in white]
    )
    return np.asarray(noise / noise.std(), np.float32)


def draw_heatmaps(
    rng: np.random.Generator, keypoints: Points, peaks: NDArray[np.float64], height: int, width: int
) -> FloatArray:
    """(K, H, W) all people's Gaussians, as high as (P, K) `peaks`, and faint noise."""
    heatmaps = np.zeros((keypoints.shape[1], height, width), np.float32)
    down, across = bells(keypoints, SIGMA, height, width)
    down *= peaks[..., None]
    for column, row in zip(down, across, strict=True):
        np.maximum(heatmaps, column[:, :, None] * row[:, None], out=heatmaps)
    return heatmaps + NOISE * smooth_noise(rng, heatmaps.shape, 1)


def draw_tags(
    rng: np.random.Generator, keypoints: Points, tags: NDArray[np.float64], height: int, width: int
) -> FloatArray:
    """(K, H, W) the nearest person's of (P,) tags, or where nobody is near, a wandering value."""
    own = tags[:, None] + TAG_NOISE * rng.standard_normal(keypoints.shape[:2])
    down, across = bells(keypoints, TAG_SIGMA, height, width)
    nobody = exp(-(TAG_REACH**2) / (2 * TAG_SIGMA**2))
    weight = np.einsum("pky,pkx->kyx", down, across) + nobody
    total = np.einsum("pky,pkx->kyx", down * own[..., None].astype(np.float32), across)
    background = smooth_noise(rng, weight.shape, 8) * spread(len(tags))
    return np.asarray((total + nobody * background) / weight, np.float32)
