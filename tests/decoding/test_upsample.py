"""Tests of upsampling on demand against `torch.nn.functional.interpolate`."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.upsample import BLOCK, Upsampled
from higherhrnet.decoding.whole_maps import resize

CASES = [(), (2,), (4,), (2, 2), (2, 2, 2), (4, 2)]


def upsampled_by_torch(maps: FloatArray, factors: tuple[int, ...]) -> FloatArray:
    result = torch.from_numpy(maps)
    for factor in factors:
        result = F.interpolate(result, scale_factor=factor, mode="bilinear", align_corners=False)
    return result.numpy()


@pytest.fixture
def maps() -> FloatArray:
    return np.random.default_rng(0).standard_normal((3, 2, 9, 13)).astype(np.float32)


@pytest.mark.parametrize("factors", CASES)
def test_single_pixels_equal_those_of_torch(maps: FloatArray, factors: tuple[int, ...]) -> None:
    upsampled, dense = Upsampled(maps, factors), upsampled_by_torch(maps, factors)
    assert (upsampled.height, upsampled.width) == dense.shape[2:]
    k, y, x = np.indices((3, upsampled.height, upsampled.width)).reshape(3, -1)
    np.testing.assert_allclose(upsampled.at(k, y, x), dense[k, :, y, x], atol=1e-5)


@pytest.mark.parametrize("factors", CASES)
@pytest.mark.parametrize("margin", [0, 2, 5])
def test_blocks_equal_those_of_torch_and_lie_within_their_bounds(
    maps: FloatArray, factors: tuple[int, ...], margin: int
) -> None:
    upsampled, dense = Upsampled(maps, factors), upsampled_by_torch(maps, factors)
    height, width = upsampled.rows * BLOCK, upsampled.columns * BLOCK
    below, right = height - upsampled.height + margin, width - upsampled.width + margin
    padded = np.pad(dense, ((0, 0), (0, 0), (margin, below), (margin, right)), mode="edge")
    k, row, column = np.indices((3, upsampled.rows, upsampled.columns)).reshape(3, -1)
    blocks = upsampled.blocks(k, row, column, margin).transpose(3, 0, 1, 2)
    highest, lowest = upsampled.block_maxima(), upsampled.block_minima()
    for block, (i, r, c) in enumerate(zip(k, row, column, strict=True)):
        top, left, side = r * BLOCK, c * BLOCK, BLOCK + 2 * margin
        expected = padded[i, :, top : top + side, left : left + side]
        np.testing.assert_allclose(blocks[block], expected, atol=1e-5)
        inner = blocks[block][:, margin : margin + BLOCK, margin : margin + BLOCK]
        assert (inner.max((1, 2)) <= highest[i, :, r, c] + 1e-5).all()
        assert (inner.min((1, 2)) >= lowest[i, :, r, c] - 1e-5).all()


def test_resize_to_any_size_equals_torch(maps: FloatArray) -> None:
    expected = F.interpolate(torch.from_numpy(maps), (20, 17), mode="bilinear")
    np.testing.assert_allclose(resize(maps[:, 0], 20, 17), expected[:, 0].numpy(), atol=1e-5)
