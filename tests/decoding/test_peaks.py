"""Tests of block-wise peak search against a search of the entire upsampled map with torch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.peaks import Peaks, find_peaks
from higherhrnet.decoding.top_k import top_k_indices
from higherhrnet.decoding.upsample import Upsampled

SIZES = {(): (45, 53), (2,): (23, 27), (2, 2): (13, 11)}
"""Height and width in cells for each upsampling; the results are not multiples of a block.

All have at least 64 pixels per peak, because `torch.topk` orders ties differently on smaller maps.
"""
Peak = tuple[int, int, int, float]
"""Keypoint, x, y and score."""


def random_maps(factors: tuple[int, ...], seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    return rng.random((4, *SIZES[factors]), np.float32)


def tied_maps(factors: tuple[int, ...], seed: int) -> FloatArray:
    """Maps with many equal values, all multiples of 1/64, so that upsampling does not round."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 12, (4, *SIZES[factors]))
    maps[0] *= maps[0] > 10
    maps[1] = 10  # a plateau, on which every pixel is a peak
    return np.asarray(maps / 64, np.float32)


def sparse_maps(factors: tuple[int, ...], seed: int) -> FloatArray:
    """Maps with few peaks, one keypoint without any, and negative values."""
    noise, spikes = random_maps(factors, seed), random_maps(factors, seed + 1) > 0.98
    spikes[2] = False
    return np.asarray(0.1 * noise - 0.05 + spikes, np.float32)


def dense_peaks(
    maps: FloatArray, factors: tuple[int, ...], min_peak: float, window: int, max_peaks: int
) -> list[Peak]:
    """Upsamples, pools, compares and sorts, as the reference implementation does."""
    upsampled = torch.from_numpy(maps)[None]
    for factor in factors:
        upsampled = F.interpolate(
            upsampled, scale_factor=factor, mode="bilinear", align_corners=False
        )
    highest = F.max_pool2d(upsampled, window, 1, window // 2)
    scores, pixels = (upsampled * (highest == upsampled))[0].flatten(1).topk(max_peaks)
    return [
        (k, pixel % upsampled.shape[3], pixel // upsampled.shape[3], score)
        for k in range(len(maps))
        for score, pixel in zip(scores[k].tolist(), pixels[k].tolist(), strict=True)
        if score > min_peak
    ]


def block_peaks(
    maps: FloatArray, factors: tuple[int, ...], min_peak: float, window: int, max_peaks: int
) -> Peaks:
    heatmaps = Upsampled(maps[:, None], factors)
    return find_peaks(heatmaps, heatmaps.block_maxima()[:, 0], min_peak, window, max_peaks)


def assert_same(peaks: Peaks, expected: list[Peak]) -> None:
    positions = [(k, x, y) for k, x, y, _ in expected]
    assert list(zip(peaks.keypoint, peaks.x, peaks.y, strict=True)) == positions
    np.testing.assert_allclose(peaks.score, [score for *_, score in expected], atol=1e-6)


@pytest.mark.parametrize("maps", [random_maps, tied_maps, sparse_maps])
@pytest.mark.parametrize("factors", SIZES)
@pytest.mark.parametrize("window", [3, 5, 9])
@pytest.mark.parametrize("max_peaks", [30, 5])
def test_peaks_equal_those_of_the_entire_map(
    maps: Callable[[tuple[int, ...], int], FloatArray],
    factors: tuple[int, ...],
    window: int,
    max_peaks: int,
) -> None:
    heatmaps = maps(factors, window)
    expected = dense_peaks(heatmaps, factors, 0.1, window, max_peaks)
    assert expected
    assert_same(block_peaks(heatmaps, factors, 0.1, window, max_peaks), expected)


@pytest.mark.parametrize("factors", SIZES)
@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_peak_at_the_border_is_found(factors: tuple[int, ...], side: str) -> None:
    """Keypoints of people who are cut off by the border of the image are there."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        maps = 0.01 * rng.random((1, *SIZES[factors]), np.float32)
        along = rng.integers(3, min(SIZES[factors]) - 3)
        cells = {"top": (0, along), "bottom": (-1, along), "left": (along, 0), "right": (along, -1)}
        maps[0][cells[side]] = rng.uniform(0.2, 1)
        expected = dense_peaks(maps, factors, 0.1, 5, 30)
        assert len(expected) == 1
        assert_same(block_peaks(maps, factors, 0.1, 5, 30), expected)


@pytest.mark.parametrize("height", [1, 7, 8, 9, 16])
@pytest.mark.parametrize("width", [1, 7, 8, 9, 16])
def test_peaks_lie_on_maps_of_any_size(height: int, width: int) -> None:
    maps = np.random.default_rng(0).random((3, height, width), np.float32) + 0.2
    expected = dense_peaks(maps, (), 0.1, 5, 1)
    assert_same(block_peaks(maps, (), 0.1, 5, 1), expected)


def test_a_peak_must_exceed_the_minimum_value() -> None:
    maps = np.zeros((1, 16, 16), np.float32)
    maps[0, 3, 3], maps[0, 10, 12] = 0.5, 0.25
    assert_same(block_peaks(maps, (), 0.25, 5, 30), [(0, 3, 3, 0.5)])


def test_an_empty_map_has_no_peaks() -> None:
    peaks = block_peaks(np.zeros((17, 16, 24), np.float32), (2,), 0.1, 5, 30)
    assert [len(values) for values in peaks] == [0, 0, 0, 0]


@pytest.mark.parametrize("values", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("pixels", [1920, 2001, 10000])
def test_equal_values_are_in_the_order_of_torch_topk(values: int, pixels: int) -> None:
    rng = np.random.default_rng(values)
    for nonzero_share in (1, 0.02, 0.005):
        array = rng.integers(0, values, pixels) + np.float32(1)
        array *= rng.random(pixels) < nonzero_share
        for k in (1000, 200, 30, 7, 1):
            expected = torch.from_numpy(array).topk(k).indices
            np.testing.assert_array_equal(top_k_indices(array, k), expected)
