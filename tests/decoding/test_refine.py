"""Tests of adjustment, and of block-wise refinement against a search of every pixel."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.decoding.refine import find_missing_keypoints
from higherhrnet.decoding.subpixel import adjust_keypoints
from higherhrnet.decoding.upsample import Upsampled
from higherhrnet.reference.decoder import adjusted_position

KEYPOINTS = 5
Factors = tuple[tuple[int, ...], tuple[int, ...]]
"""The factors by which heatmaps and tags are upsampled."""


class Case(NamedTuple):
    """Maps and the missing keypoints to find on them."""

    heatmaps: FloatArray
    """(K, 1, h, w)"""
    tags: FloatArray
    """(K or 1, T, h', w')"""
    person_tags: FloatArray
    """(Q, T) mean tags of the people."""
    k: IndexArray
    """(Q,) indices of the missing keypoints."""


@pytest.fixture(params=[((), ()), ((), (2,)), ((2,), (2, 2))], ids=str)
def factors(request: pytest.FixtureRequest) -> Factors:
    factors: Factors = request.param
    return factors


def upsampled_by_torch(maps: FloatArray, factors: tuple[int, ...]) -> FloatArray:
    upsampled = torch.from_numpy(maps)
    for factor in factors:
        upsampled = F.interpolate(
            upsampled, scale_factor=factor, mode="bilinear", align_corners=False
        )
    return upsampled.numpy()


def random_case(
    factors: Factors,
    grid: tuple[int, int] = (40, 56),
    queries: int = 30,
    views: int = 2,
    shared: bool = False,
) -> Case:
    """A random case in which half of the people have a tag that is somewhere on the map."""
    rng = np.random.default_rng(views)
    (height, width), (high, wide) = ([side // math.prod(f) for side in grid] for f in factors)
    heatmaps = 0.3 * rng.standard_normal((KEYPOINTS, 1, height, width), np.float32)
    tags = 3 * rng.standard_normal((1 if shared else KEYPOINTS, views, high, wide), np.float32)
    person_tags = 3 * rng.standard_normal((queries, views), np.float32)
    k, y, x = rng.integers(0, (len(tags), high, wide), (queries // 2, 3)).T
    person_tags[: queries // 2] = tags[k, :, y, x]
    return Case(heatmaps, tags, person_tags, rng.integers(0, KEYPOINTS, queries))


def assert_equals_dense_search(case: Case, factors: Factors) -> None:
    heatmaps = Upsampled(case.heatmaps, factors[0])
    x, y, score = find_missing_keypoints(
        heatmaps,
        heatmaps.block_maxima()[:, 0],
        Upsampled(case.tags, factors[1]),
        case.person_tags,
        case.k,
    )
    dense, dense_tags = (
        upsampled_by_torch(case.heatmaps, factors[0])[:, 0],
        upsampled_by_torch(case.tags, factors[1]),
    )
    expected = []
    for tag, k in zip(case.person_tags, case.k, strict=True):
        offset = dense_tags[min(k, len(dense_tags) - 1)] - tag[:, None, None]
        value = dense[k] - np.round(np.sqrt((offset**2).sum(0)))
        row, column = np.unravel_index(value.argmax(), value.shape)
        expected.append((column, row, dense[k, row, column]))
    np.testing.assert_array_equal(np.stack([x, y], 1), [pixel[:2] for pixel in expected])
    np.testing.assert_allclose(score, [pixel[2] for pixel in expected], atol=1e-6)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("grid", [(40, 56), (44, 60), (20, 100)])
def test_the_best_pixel_of_the_map_is_found(
    factors: Factors,
    views: int,
    shared: bool,
    grid: tuple[int, int],
) -> None:
    case = random_case(factors, grid, views=views, shared=shared)
    assert_equals_dense_search(case, factors)


def test_many_missing_keypoints_are_found_in_batches(factors: Factors) -> None:
    assert_equals_dense_search(random_case(factors, queries=520), factors)


def test_negative_heatmaps(factors: Factors) -> None:
    case = random_case(factors)
    assert_equals_dense_search(case._replace(heatmaps=-1 - abs(case.heatmaps)), factors)


@pytest.mark.parametrize("distance", [1, 7, 1000])
def test_tags_that_are_far_from_every_person(factors: Factors, distance: float) -> None:
    case = random_case(factors, views=1)
    tags = 0.2 * case.tags
    person_tags = tags.max() + distance + 0.1 * case.person_tags
    assert_equals_dense_search(case._replace(tags=tags, person_tags=person_tags), factors)


def test_heatmap_values_that_outweigh_tag_distances(factors: Factors) -> None:
    case = random_case(factors)
    assert_equals_dense_search(case._replace(heatmaps=10 * case.heatmaps), factors)


def test_constant_tags(factors: Factors) -> None:
    case = random_case(factors)
    assert_equals_dense_search(case._replace(tags=np.zeros_like(case.tags)), factors)


@pytest.mark.parametrize("views", [1, 2])
def test_the_first_of_equal_pixels_in_reading_order_is_taken(factors: Factors, views: int) -> None:
    """Most values are equal, and all are multiples of 1/4, so that upsampling does not round."""
    case = random_case(factors, views=views)
    heatmaps, tags, person_tags = (np.round(4 * array) / np.float32(4) for array in case[:3])
    assert_equals_dense_search(Case(heatmaps, tags, person_tags, case.k), factors)


@pytest.mark.parametrize("views", [1, 2])
def test_half_distances_are_rounded_to_even(views: int) -> None:
    """The distance 0.5 is rounded to 0 and 1.5 to 2, as in the reference implementation."""
    heatmaps = np.zeros((1, 1, 8, 8), np.float32)
    heatmaps[0, 0, 5, 6], heatmaps[0, 0, 2, 3] = 0.4, 0.9
    tags = np.full((1, views, 8, 8), 50, np.float32)
    tags[0, :, 5, 6], tags[0, :, 2, 3] = [0.5, 0][:views], [1.5, 0][:views]
    case = Case(heatmaps, tags, np.zeros((1, views), np.float32), np.zeros(1, np.intp))
    assert_equals_dense_search(case, ((), ()))


@pytest.mark.parametrize("factors", [(), (2,), (2, 2)])
@pytest.mark.parametrize("values", [2, 10**6])
def test_keypoints_move_a_quarter_of_a_pixel_toward_the_higher_neighbor(
    factors: tuple[int, ...], values: int
) -> None:
    """All pixels are tested, including borders and equal neighbors."""
    cells = np.random.default_rng(values).integers(0, values, (2, 1, 7, 9))
    maps = np.asarray(cells / values, np.float32)
    heatmaps, dense = Upsampled(maps, factors), upsampled_by_torch(maps, factors)[:, 0]
    k, y, x = np.indices(dense.shape).reshape(3, -1)
    expected = [
        adjusted_position(dense[i], int(c), int(r)) for i, c, r in zip(k, x, y, strict=True)
    ]
    np.testing.assert_array_equal(adjust_keypoints(heatmaps, k, x, y), expected)
