"""Missing keypoints found block by block are those found by looking everywhere."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.decoding.refine import adjust_keypoints, find_missing_keypoints
from higherhrnet.decoding.upsample import Upsampled
from higherhrnet.reference.decoder import between_neighbours

KEYPOINTS = 5
Factors = tuple[tuple[int, ...], tuple[int, ...]]
"""The enlargements of heatmaps and of tags."""


class Case(NamedTuple):
    """Heatmaps and tags (K or 1, T), person tags (Q, T) and the keypoints they miss."""

    heatmaps: FloatArray
    tags: FloatArray
    person_tags: FloatArray
    k: IndexArray


@pytest.fixture(params=[((), ()), ((), (2,)), ((2,), (2, 2))], ids=str)
def factors(request: pytest.FixtureRequest) -> Factors:
    chosen: Factors = request.param
    return chosen


def enlarged(maps: FloatArray, factors: tuple[int, ...]) -> FloatArray:
    large = torch.from_numpy(maps)
    for factor in factors:
        large = F.interpolate(large, scale_factor=factor, mode="bilinear", align_corners=False)
    return large.numpy()


def random_case(
    factors: Factors,
    grid: tuple[int, int] = (40, 56),
    queries: int = 30,
    views: int = 2,
    shared: bool = False,
) -> Case:
    """Half of the people have a tag that is somewhere on the map."""
    rng = np.random.default_rng(views)
    (height, width), (high, wide) = ([side // math.prod(f) for side in grid] for f in factors)
    heatmaps = 0.3 * rng.standard_normal((KEYPOINTS, 1, height, width), np.float32)
    tags = 3 * rng.standard_normal((1 if shared else KEYPOINTS, views, high, wide), np.float32)
    person_tags = 3 * rng.standard_normal((queries, views), np.float32)
    places = rng.integers(0, (len(tags), high, wide), (queries // 2, 3)).T
    person_tags[: queries // 2] = tags[places[0], :, places[1], places[2]]
    return Case(heatmaps, tags, person_tags, rng.integers(0, KEYPOINTS, queries))


def assert_found_as_everywhere(case: Case, factors: Factors) -> None:
    heatmaps = Upsampled(case.heatmaps, factors[0])
    found = find_missing_keypoints(
        heatmaps,
        heatmaps.block_maxima()[:, 0],
        Upsampled(case.tags, factors[1]),
        case.person_tags,
        case.k,
    )
    dense, dense_tags = enlarged(case.heatmaps, factors[0])[:, 0], enlarged(case.tags, factors[1])
    expected = []
    for tag, k in zip(case.person_tags, case.k, strict=True):
        away = dense_tags[min(k, len(dense_tags) - 1)] - tag[:, None, None]
        value = dense[k] - np.round(np.sqrt((away**2).sum(0)))
        y, x = np.unravel_index(value.argmax(), value.shape)
        expected.append((x, y, dense[k, y, x]))
    np.testing.assert_array_equal(np.stack(found[:2], 1), [place[:2] for place in expected])
    np.testing.assert_allclose(found[2], [place[2] for place in expected], atol=1e-6)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("grid", [(40, 56), (44, 60), (20, 100)])
def test_the_best_pixel_of_the_whole_map_is_found(
    factors: Factors,
    views: int,
    shared: bool,
    grid: tuple[int, int],
) -> None:
    case = random_case(factors, grid, views=views, shared=shared)
    assert_found_as_everywhere(case, factors)


def test_any_number_of_keypoints_may_be_missing(factors: Factors) -> None:
    assert_found_as_everywhere(random_case(factors, queries=520), factors)


def test_heatmaps_may_all_be_negative(factors: Factors) -> None:
    case = random_case(factors)
    assert_found_as_everywhere(case._replace(heatmaps=-1 - abs(case.heatmaps)), factors)


@pytest.mark.parametrize("distance", [1, 7, 1000])
def test_tags_may_be_far_from_everything(factors: Factors, distance: float) -> None:
    case = random_case(factors, views=1)
    tags = 0.2 * case.tags
    person_tags = tags.max() + distance + 0.1 * case.person_tags
    assert_found_as_everywhere(case._replace(tags=tags, person_tags=person_tags), factors)


def test_a_high_heatmap_wins_over_a_nearer_tag(factors: Factors) -> None:
    case = random_case(factors)
    assert_found_as_everywhere(case._replace(heatmaps=10 * case.heatmaps), factors)


def test_tags_may_be_the_same_everywhere(factors: Factors) -> None:
    case = random_case(factors)
    assert_found_as_everywhere(case._replace(tags=np.zeros_like(case.tags)), factors)


@pytest.mark.parametrize("views", [1, 2])
def test_of_equal_pixels_the_first_in_reading_order_is_taken(factors: Factors, views: int) -> None:
    """Few values, so most are equal, and whole quarters, so that no enlargement rounds any."""
    case = random_case(factors, views=views)
    heatmaps, tags, person_tags = (np.round(4 * array) / np.float32(4) for array in case[:3])
    assert_found_as_everywhere(Case(heatmaps, tags, person_tags, case.k), factors)


@pytest.mark.parametrize("views", [1, 2])
def test_a_distance_of_exactly_a_half_rounds_to_the_even_number(views: int) -> None:
    """So 0.5 costs nothing and 1.5 costs 2, as in the original."""
    heatmaps = np.zeros((1, 1, 8, 8), np.float32)
    heatmaps[0, 0, 5, 6], heatmaps[0, 0, 2, 3] = 0.4, 0.9
    tags = np.full((1, views, 8, 8), 50, np.float32)
    tags[0, :, 5, 6], tags[0, :, 2, 3] = [0.5, 0][:views], [1.5, 0][:views]
    case = Case(heatmaps, tags, np.zeros((1, views), np.float32), np.zeros(1, np.intp))
    assert_found_as_everywhere(case, ((), ()))


@pytest.mark.parametrize("factors", [(), (2,), (2, 2)])
@pytest.mark.parametrize("values", [2, 10**6])
def test_keypoints_move_a_quarter_pixel_towards_the_higher_neighbour(
    factors: tuple[int, ...], values: int
) -> None:
    """On every pixel, borders and equal neighbours too; an equal one counts as lower."""
    cells = np.random.default_rng(values).integers(0, values, (2, 1, 7, 9))
    maps = np.asarray(cells / values, np.float32)
    heatmaps, dense = Upsampled(maps, factors), enlarged(maps, factors)[:, 0]
    k, y, x = np.indices(dense.shape).reshape(3, -1)
    expected = [
        between_neighbours(dense[i], int(c), int(r)) for i, c, r in zip(k, x, y, strict=True)
    ]
    np.testing.assert_array_equal(adjust_keypoints(heatmaps, k, x, y), expected)
