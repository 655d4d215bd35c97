"""Synthetic outputs of a network for any number of people.

Decoding finds the same number of people in them. They replace a trained network in tests and in
benchmarks of decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, exp, sqrt

import cv2
import numpy as np

from higherhrnet.arrays import DoubleArray, FloatArray
from higherhrnet.config.model import HeadName
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO

HEATMAP_SIGMA = 2.0
"""Standard deviation of the Gaussian around a keypoint, in cells, at both resolutions."""
PEAK_RANGE = 0.3, 0.95
"""Minimum and maximum height of a peak."""
MISSING_FRACTION = 0.25
"""Fraction of the keypoints that have no peak."""
HEATMAP_NOISE = 0.01
"""Standard deviation of the noise in heatmaps."""
TAG_GAP_RANGE = 1.5, 2.0
"""Minimum and maximum difference of two successive people's tags; grouping separates people from a
difference of 1."""
TAG_NOISE = 0.1
"""Standard deviation of the tags of one person."""
TAG_SIGMA = 0.7
"""Width, in cells, of the transition between the tags of neighboring people."""
OFFSET_NOISE = 0.1
"""Standard deviation of the noise in offsets, in cells."""
TAG_RADIUS = 6.0
"""Radius, in cells, around a person's keypoint in which the map has the person's tag."""


def synthesize_outputs(
    num_people: int,
    height: int,
    width: int,
    seed: int,
    skeleton: Skeleton = COCO,
    flip: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Creates outputs such as a trained network might give for an image of P people.

    A quarter of the keypoints have no peak. The tags of all people differ and cover a few cells
    around each keypoint, including those without a peak; elsewhere tags vary smoothly.

    Args:
        num_people: P.
        height: height of the network's input, a multiple of 4.
        width: width of the network's input, a multiple of 4.
        seed: seed of the random numbers.
        skeleton: the skeleton of the people.
        flip: whether to add the outputs of the flipped view.

    Returns:
        (V, 2K, H/4, W/4) heatmaps and tags, and (V, K, H/2, W/2) heatmaps, where V is 2 with the
        flipped view and else 1.
    """
    rng, num_keypoints = np.random.default_rng(seed), len(skeleton)
    keypoints = place_people(rng, num_people, num_keypoints, height, width)
    has_peak = rng.random((num_people, num_keypoints)) >= MISSING_FRACTION
    # Grouping may split a person whose first keypoint is missing: 30 people become 90.
    has_peak[:, 0] = True
    peaks = rng.uniform(*PEAK_RANGE, has_peak.shape) * has_peak
    tags = rng.permutation(np.cumsum(rng.uniform(*TAG_GAP_RANGE, num_people)))
    tags -= _max_tag(num_people)
    low_views, high_views = [], []
    for _ in range(1 + flip):
        heatmaps = synthesize_heatmaps(rng, keypoints / 4, peaks, height // 4, width // 4)
        tag_maps = synthesize_tags(rng, keypoints / 4, tags, height // 4, width // 4)
        low_views.append(np.concatenate([heatmaps, tag_maps]))
        high_views.append(synthesize_heatmaps(rng, keypoints / 2, peaks, height // 2, width // 2))
    low, high = np.stack(low_views), np.stack(high_views)
    if flip:
        index = np.array(skeleton.flip_index)
        low[1] = low[1, np.concatenate([index, index + num_keypoints]), :, ::-1]
        high[1] = high[1, index, :, ::-1]
    return low, high


def synthesize_offset_outputs(
    num_people: int,
    height: int,
    width: int,
    seed: int,
    skeleton: Skeleton = COCO,
    flip: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Creates outputs such as a trained network that predicts offsets might give for P people.

    The arguments are those of `synthesize_outputs`. Each cell leads to the keypoints of the person
    whose center is nearest.

    Returns:
        (V, K + 1, H/4, W/4) heatmaps and (V, 2K, H/4, W/4) offsets, where V is 2 with the flipped
        view and else 1.
    """
    rng, count = np.random.default_rng(seed), len(skeleton)
    keypoints = place_people(rng, num_people, count, height, width) / 4
    centers = keypoints.mean(1, keepdims=True)
    peaks = rng.uniform(*PEAK_RANGE, (num_people, count + 1))
    peaks[:, -1] = PEAK_RANGE[1]
    points = np.concatenate([keypoints, centers], 1)
    rows, columns = np.indices((height // 4, width // 4))
    cells = np.stack([columns, rows], 2) + 0.5
    distances = ((cells - centers[:, :, None]) ** 2).sum(3)  # (P, h, w)
    nearest = distances.argmin(0) if num_people else np.zeros_like(rows)
    targets = keypoints if num_people else np.zeros((1, count, 2))
    offsets = (cells[:, :, None] - targets[nearest]).transpose(2, 3, 0, 1).astype(np.float32)
    views = []
    for _ in range(1 + flip):
        heatmaps = synthesize_heatmaps(rng, points, peaks, height // 4, width // 4)
        heatmaps[-1][heatmaps[-1] < 5 * HEATMAP_NOISE] = 0  # otherwise noise has centers
        noise = OFFSET_NOISE * rng.standard_normal(offsets.shape, np.float32)
        views.append((heatmaps, (offsets + noise).reshape(2 * count, height // 4, width // 4)))
    merged_heatmaps, merged_offsets = map(np.stack, zip(*views, strict=True))
    if flip:
        index = np.append(skeleton.flip_index, count)
        merged_heatmaps[1] = merged_heatmaps[1, index, :, ::-1]
        pairs = merged_offsets[1].reshape(count, 2, height // 4, width // 4)
        mirrored = pairs[index[:-1], :, :, ::-1] * np.array([[-1], [1]], np.float32)[..., None]
        merged_offsets[1] = mirrored.reshape(merged_offsets[1].shape)
    return merged_heatmaps, merged_offsets


def synthesize_all_outputs(
    num_people: int,
    height: int,
    width: int,
    seed: int,
    skeleton: Skeleton = COCO,
    flip: bool = True,
) -> tuple[FloatArray, ...]:
    """Creates outputs of a network that predicts tags and offsets.

    The arguments are those of `synthesize_outputs`, and the people are the same in all outputs.

    Returns:
        What `synthesize_outputs` returns, and (V, 1 + 2K, H/4, W/4) centers and offsets.
    """
    arguments = num_people, height, width, seed, skeleton, flip
    heatmaps, offsets = synthesize_offset_outputs(*arguments)
    return *synthesize_outputs(*arguments), np.concatenate([heatmaps[:, -1:], offsets], 1)


SYNTHESIZERS: dict[HeadName, Callable[..., tuple[FloatArray, ...]]] = {
    "tags": synthesize_outputs,
    "offsets": synthesize_offset_outputs,
    "tags-and-offsets": synthesize_all_outputs,
}
"""For each head, the function that creates outputs of a network."""


def _max_tag(num_people: int) -> float:
    """Returns the approximate maximum of the people's tags, which are distributed around 0."""
    return sum(TAG_GAP_RANGE) / 4 * (num_people + 1)


def place_people(
    rng: np.random.Generator, num_people: int, num_keypoints: int, height: int, width: int
) -> DoubleArray:
    """Places each person in a cell of a grid, with keypoints at random positions in a box.

    The sides of the box are 0.6 to 1.1 times those of the cell.

    Returns:
        (P, K, 2) x and y, where the center of the first pixel is at 0.5.
    """
    columns = max(1, ceil(sqrt(num_people * width / height)))
    rows = max(1, ceil(num_people / columns))
    cell = np.array([width / columns, height / rows])
    box = cell * rng.uniform(0.6, 1.1, (num_people, 1))
    corner = np.stack(np.divmod(np.arange(num_people), rows), 1) * cell
    corner += rng.random((num_people, 2)) * (cell - box)
    inside = rng.random((num_people, num_keypoints, 2))
    return np.asarray(corner[:, None] + inside * box[:, None])


def gaussian_profiles(
    keypoints: DoubleArray, sigma: float, height: int, width: int
) -> tuple[FloatArray, FloatArray]:
    """Computes the separable factors of Gaussians at the keypoints.

    Args:
        keypoints: (P, K, 2) x and y in cells, where the center of the first cell is at 0.5.
        sigma: standard deviation in cells.
        height: height of the maps.
        width: width of the maps.

    Returns:
        (P, K, H) columns and (P, K, W) rows, whose outer products are the Gaussians.
    """
    x, y = keypoints[..., :1], keypoints[..., 1:]
    columns = np.exp(-((np.arange(height) + 0.5 - y) ** 2) / (2 * sigma**2))
    rows = np.exp(-((np.arange(width) + 0.5 - x) ** 2) / (2 * sigma**2))
    return columns.astype(np.float32), rows.astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> FloatArray:
    """Creates (K, H, W) blurred white noise with a mean of about 0 and a standard deviation of 1.

    Args:
        rng: the source of random numbers.
        shape: K, H and W.
        sigma: standard deviation of the blur, in cells.
    """
    white, side = rng.standard_normal(shape, np.float32), 2 * round(4 * sigma) + 1
    noise = np.stack(
        [cv2.GaussianBlur(k, (side, side), sigma, borderType=cv2.BORDER_REFLECT) for k in white]
    )
    return np.asarray(noise / noise.std(), np.float32)


def synthesize_heatmaps(
    rng: np.random.Generator, keypoints: DoubleArray, peaks: DoubleArray, height: int, width: int
) -> FloatArray:
    """Creates heatmaps of all people, with faint noise.

    Args:
        rng: the source of random numbers.
        keypoints: (P, K, 2) x and y in cells.
        peaks: (P, K) heights of the Gaussians; 0 for a missing keypoint.
        height: height of the maps, H.
        width: width of the maps, W.

    Returns:
        (K, H, W) heatmaps.
    """
    heatmaps = np.zeros((keypoints.shape[1], height, width), np.float32)
    columns, rows = gaussian_profiles(keypoints, HEATMAP_SIGMA, height, width)
    columns *= peaks[..., None]
    for column, row in zip(columns, rows, strict=True):
        np.maximum(heatmaps, column[:, :, None] * row[:, None], out=heatmaps)
    return heatmaps + HEATMAP_NOISE * smooth_noise(rng, heatmaps.shape, 1)


def synthesize_tags(
    rng: np.random.Generator, keypoints: DoubleArray, tags: DoubleArray, height: int, width: int
) -> FloatArray:
    """Creates tag maps of all people: in each cell the tag of the nearest person.

    Cells that are not near a person have smooth noise over the range of the tags.

    Args:
        rng: the source of random numbers.
        keypoints: (P, K, 2) x and y in cells.
        tags: (P,) the people's tags.
        height: height of the maps, H.
        width: width of the maps, W.

    Returns:
        (K, H, W) tags.
    """
    keypoint_tags = tags[:, None] + TAG_NOISE * rng.standard_normal(keypoints.shape[:2])
    columns, rows = gaussian_profiles(keypoints, TAG_SIGMA, height, width)
    noise_weight = exp(-(TAG_RADIUS**2) / (2 * TAG_SIGMA**2))
    weight = np.einsum("pky,pkx->kyx", columns, rows) + noise_weight
    weighted = columns * keypoint_tags[..., None].astype(np.float32)
    total = np.einsum("pky,pkx->kyx", weighted, rows)
    noise = smooth_noise(rng, weight.shape, 8) * _max_tag(len(tags))
    return np.asarray((total + noise_weight * noise) / weight, np.float32)
