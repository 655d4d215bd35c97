"""Regions against pycocotools, which is COCO's own code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

from higherhrnet.data import masks as regions
from higherhrnet.errors import InputError

HEIGHT, WIDTH = 48, 70


def polygon(seed: int, corners: int = 7) -> list[float]:
    """Some of it beyond the picture."""
    rng = np.random.default_rng(seed)
    return list((rng.uniform(-0.1, 1.1, (corners, 2)) * (WIDTH, HEIGHT)).ravel().tolist())


def pixels(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.random((height, width)) < rng.choice([0, 0.01, 0.3, 0.9, 1]))


def packed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    lengths: dict[str, Any] = coco.encode(np.asfortranarray(mask, np.uint8))
    return lengths


def counted(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's uncompressed run lengths, by a naive count."""
    counts, last = [0], False
    for value in mask.ravel(order="F").tolist():
        if value != last:
            counts.append(0)
        counts[-1] += 1
        last = value
    return {"size": list(mask.shape), "counts": counts}


def decoded(person: dict[str, Any]) -> NDArray[np.bool_]:
    return regions.decode(regions.encode(person, HEIGHT, WIDTH), HEIGHT, WIDTH)


@pytest.mark.parametrize("seed", range(20))
def test_polygons_cover_what_they_cover_in_coco(seed: int) -> None:
    polygons = [polygon(seed), polygon(seed + 100, 3)]
    expected = coco.decode(coco.merge(coco.frPyObjects(polygons, HEIGHT, WIDTH)))
    np.testing.assert_array_equal(decoded({"segmentation": polygons}), expected)


@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 80))
def test_run_lengths_cover_what_they_say(seed: int, height: int, width: int) -> None:
    mask = pixels(seed, height, width)
    compressed = packed(mask)
    forms = [compressed, compressed | {"counts": compressed["counts"].decode()}, counted(mask)]
    for segmentation in forms:
        region = regions.encode({"segmentation": segmentation}, height, width)
        found = regions.decode(region, height, width)
        np.testing.assert_array_equal(found, mask)
        assert found.flags.c_contiguous
        assert found.dtype == np.bool_


@pytest.mark.parametrize("segmentation", [None, [], [[]], [[3, 4, 5, 6]]])
def test_without_a_segmentation_the_box_counts(segmentation: object) -> None:
    box = [10.2, 5, 30, 20.6]
    expected = coco.decode(coco.frPyObjects(np.array([box]), HEIGHT, WIDTH))[..., 0]
    person = {"bbox": box, "segmentation": segmentation}
    np.testing.assert_array_equal(decoded(person), expected)
    assert not regions.is_outline(person)


def test_unions() -> None:
    masks = [pixels(1), pixels(6), pixels(9)]
    parts = [regions.encode({"segmentation": packed(mask)}, HEIGHT, WIDTH) for mask in masks]
    together = regions.decode(regions.union(parts, HEIGHT, WIDTH), HEIGHT, WIDTH)
    np.testing.assert_array_equal(together, masks[0] | masks[1] | masks[2])
    assert regions.union(parts[:1], HEIGHT, WIDTH) == parts[0]
    assert regions.union([], HEIGHT, WIDTH) == b""


def test_only_true_outlines_are_outlines() -> None:
    assert regions.is_outline({"segmentation": [polygon(0)]})
    assert regions.is_outline({"segmentation": packed(pixels(2))})
    assert not regions.is_outline({"segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]})
    assert not regions.is_outline({})


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [HEIGHT, WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": [5, 6]},
        {"size": [HEIGHT, WIDTH], "counts": [0, -3, HEIGHT * WIDTH + 3]},
        {"size": [HEIGHT, WIDTH], "counts": "0"},
        {"size": [HEIGHT, WIDTH], "counts": 7},
        {"size": [WIDTH, HEIGHT], "counts": packed(pixels(3, WIDTH, HEIGHT + 1))["counts"]},
        [["a", "b", "c", "d", "e", "f"]],
        [[0, 0, 5, 0, None, 5]],
    ],
)
def test_what_makes_no_sense_is_refused(segmentation: object) -> None:
    with pytest.raises(InputError, match=r"^annotation 7: segmentation: ") as refused:
        regions.encode({"id": 7, "segmentation": segmentation}, HEIGHT, WIDTH)
    assert "\n" not in str(refused.value)
