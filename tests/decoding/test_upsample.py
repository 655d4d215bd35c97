"""Enlarging where one looks is the same as enlarging all with torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.upsample import BLOCK, Upsampled, resize

CASES = [(), (2,), (4,), (2, 2), (2, 2, 2), (4, 2)]


def enlarged(maps: FloatArray, factors: tuple[int, ...]) -> FloatArray:
    result = torch.from_numpy(maps)
    for factor in factors:
        result = F.interpolate(result, scale_factor=factor, mode="bilinear", align_corners=False)
    return result.numpy()


@pytest.fixture
def maps() -> FloatArray:
    return np.random.default_rng(0).standard_normal((3, 2, 9, 13)).astype(np.float32)


@pytest.mark.parametrize("factors", CASES)
def test_single_pixels(maps: FloatArray, factors: tuple[int, ...]) -> None:
    lazy, dense = Upsampled(maps, factors), enlarged(maps, factors)
    assert (lazy.height, lazy.width) == dense.shape[2:]
    k, y, x = np.indices((3, lazy.height, lazy.width)).reshape(3, -1)
    np.testing.assert_allclose(lazy.at(k, y, x), dense[k, :, y, x], atol=1e-5)


@pytest.mark.parametrize("factors", CASES)
@pytest.mark.parametrize("ring", [0, 2, 5])
def test_blocks_with_their_ring_and_bounds(
    maps: FloatArray, factors: tuple[int, ...], ring: int
) -> None:
    lazy, dense = Upsampled(maps, factors, ring), enlarged(maps, factors)
    height, width = lazy.rows * BLOCK, lazy.columns * BLOCK
    below, right = height - lazy.height + ring, width - lazy.width + ring
    padded = np.pad(dense, ((0, 0), (0, 0), (ring, below), (ring, right)), mode="edge")
    k, row, column = np.indices((3, lazy.rows, lazy.columns)).reshape(3, -1)
    blocks = lazy.blocks(k, row, column, ring)
    highest, lowest = lazy.block_maxima(), lazy.block_maxima(-1)
    for block, (i, r, c) in enumerate(zip(k, row, column, strict=True)):
        top, left, side = r * BLOCK, c * BLOCK, BLOCK + 2 * ring
        expected = padded[i, :, top : top + side, left : left + side]
        np.testing.assert_allclose(blocks[block], expected, atol=1e-5)
        inner = blocks[block][:, ring : ring + BLOCK, ring : ring + BLOCK]
        assert (inner.max((1, 2)) <= highest[i, :, r, c] + 1e-5).all()
        assert (inner.min((1, 2)) >= lowest[i, :, r, c] - 1e-5).all()


def test_any_size_is_as_torch_has_it(maps: FloatArray) -> None:
    expected = F.interpolate(torch.from_numpy(maps), (20, 17), mode="bilinear")
    np.testing.assert_allclose(resize(maps[:, 0], 20, 17), expected[:, 0].numpy(), atol=1e-5)
