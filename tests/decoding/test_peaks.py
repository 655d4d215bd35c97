"""Peaks found block by block are those that torch finds in the whole enlarged map."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.peaks import Peaks, find_peaks
from higherhrnet.decoding.top_k import topk_order
from higherhrnet.decoding.upsample import Upsampled

SIZES = {(): (45, 53), (2,): (23, 27), (2, 2): (13, 11)}
"""Cells for each enlargement, which makes no whole number of blocks of them.

Nowhere fewer than 64 pixels a peak: on smaller maps torch.topk settles ties in another way.
"""
Peak = tuple[int, int, int, float]
"""Keypoint, x, y and score."""


def random_maps(factors: tuple[int, ...], seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    return rng.random((4, *SIZES[factors]), np.float32)


def coarse_maps(factors: tuple[int, ...], seed: int) -> FloatArray:
    """Few values, so many are equal, and whole 64ths, so that no enlargement rounds any."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 12, (4, *SIZES[factors]))
    maps[0] *= maps[0] > 10
    maps[1] = 10  # one plateau, every pixel a peak
    return np.asarray(maps / 64, np.float32)


def sparse_maps(factors: tuple[int, ...], seed: int) -> FloatArray:
    """Fewer peaks than are asked for, one keypoint with none, negative values."""
    noise, spikes = random_maps(factors, seed), random_maps(factors, seed + 1) > 0.98
    spikes[2] = False
    return np.asarray(0.1 * noise - 0.05 + spikes, np.float32)


def dense_peaks(
    maps: FloatArray, factors: tuple[int, ...], min_peak: float, window: int, most: int
) -> list[Peak]:
    """The original's way: enlarge, pool, compare, sort."""
    large = torch.from_numpy(maps)[None]
    for factor in factors:
        large = F.interpolate(large, scale_factor=factor, mode="bilinear", align_corners=False)
    highest = F.max_pool2d(large, window, 1, window // 2)
    scores, places = (large * (highest == large))[0].flatten(1).topk(most)
    return [
        (k, place % large.shape[3], place // large.shape[3], score)
        for k in range(len(maps))
        for score, place in zip(scores[k].tolist(), places[k].tolist(), strict=True)
        if score > min_peak
    ]


def block_peaks(
    maps: FloatArray, factors: tuple[int, ...], min_peak: float, window: int, most: int
) -> Peaks:
    heatmaps = Upsampled(maps[:, None], factors, ring=window // 2)
    return find_peaks(heatmaps, heatmaps.block_maxima()[:, 0], min_peak, window, most)


def assert_same(found: Peaks, expected: list[Peak]) -> None:
    places = [(k, x, y) for k, x, y, _ in expected]
    assert list(zip(found.keypoint, found.x, found.y, strict=True)) == places
    np.testing.assert_allclose(found.score, [score for *_, score in expected], atol=1e-6)


@pytest.mark.parametrize("maps", [random_maps, coarse_maps, sparse_maps])
@pytest.mark.parametrize("factors", SIZES)
@pytest.mark.parametrize("window", [3, 5, 9])
@pytest.mark.parametrize("most", [30, 5])
def test_peaks_are_those_of_the_whole_map(
    maps: Callable[[tuple[int, ...], int], FloatArray],
    factors: tuple[int, ...],
    window: int,
    most: int,
) -> None:
    drawn = maps(factors, window)
    expected = dense_peaks(drawn, factors, 0.1, window, most)
    assert expected
    assert_same(block_peaks(drawn, factors, 0.1, window, most), expected)


@pytest.mark.parametrize("factors", SIZES)
@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_peak_on_the_border_is_found(factors: tuple[int, ...], side: str) -> None:
    """People cut off by the picture have their keypoints there."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        maps = 0.01 * rng.random((1, *SIZES[factors]), np.float32)
        along = rng.integers(3, min(SIZES[factors]) - 3)
        place = {"top": (0, along), "bottom": (-1, along), "left": (along, 0), "right": (along, -1)}
        maps[0][place[side]] = rng.uniform(0.2, 1)
        expected = dense_peaks(maps, factors, 0.1, 5, 30)
        assert len(expected) == 1
        assert_same(block_peaks(maps, factors, 0.1, 5, 30), expected)


@pytest.mark.parametrize("height", [1, 7, 8, 9, 16])
@pytest.mark.parametrize("width", [1, 7, 8, 9, 16])
def test_peaks_lie_on_the_map_whatever_its_size(height: int, width: int) -> None:
    maps = np.random.default_rng(0).random((3, height, width), np.float32) + 0.2
    expected = dense_peaks(maps, (), 0.1, 5, 1)
    assert_same(block_peaks(maps, (), 0.1, 5, 1), expected)


def test_a_peak_must_be_above_the_least_value() -> None:
    maps = np.zeros((1, 16, 16), np.float32)
    maps[0, 3, 3], maps[0, 10, 12] = 0.5, 0.25
    assert_same(block_peaks(maps, (), 0.25, 5, 30), [(0, 3, 3, 0.5)])


def test_no_peaks_are_found_in_an_empty_map() -> None:
    found = block_peaks(np.zeros((17, 16, 24), np.float32), (2,), 0.1, 5, 30)
    assert [len(values) for values in found] == [0, 0, 0, 0]


@pytest.mark.parametrize("values", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("pixels", [1920, 2001, 10000])
def test_equal_values_come_in_the_order_of_torch(values: int, pixels: int) -> None:
    rng = np.random.default_rng(values)
    for share in (1, 0.02, 0.005):  # of pixels that are not 0, as where most are no peaks
        drawn = rng.integers(0, values, pixels) + np.float32(1)
        drawn *= rng.random(pixels) < share
        for most in (30, 7, 1):
            expected = torch.from_numpy(drawn).topk(most).indices
            np.testing.assert_array_equal(topk_order(drawn, most), expected)
