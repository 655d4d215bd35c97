"""Masks against pycocotools, the implementation of COCO."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from higherhrnet.arrays import BoolArray
from higherhrnet.data.rle import decode_mask, encode_annotation, has_outline, merge_masks
from higherhrnet.errors import InputError

HEIGHT, WIDTH = 48, 70


def polygon(seed: int, corners: int = 7) -> list[float]:
    """A random polygon, which may extend beyond the image."""
    rng = np.random.default_rng(seed)
    return list((rng.uniform(-0.1, 1.1, (corners, 2)) * (WIDTH, HEIGHT)).ravel().tolist())


def random_mask(seed: int, height: int = HEIGHT, width: int = WIDTH) -> BoolArray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.random((height, width)) < rng.choice([0, 0.01, 0.3, 0.9, 1]))


def compressed(mask: BoolArray) -> dict[str, Any]:
    segmentation: dict[str, Any] = coco.encode(np.asfortranarray(mask, np.uint8))
    return segmentation


def uncompressed(mask: BoolArray) -> dict[str, Any]:
    """COCO's uncompressed run lengths, counted pixel by pixel."""
    counts, last = [0], False
    for value in mask.ravel(order="F").tolist():
        if value != last:
            counts.append(0)
        counts[-1] += 1
        last = value
    return {"size": list(mask.shape), "counts": counts}


def mask_of(annotation: dict[str, Any]) -> BoolArray:
    return decode_mask(encode_annotation(annotation, HEIGHT, WIDTH), HEIGHT, WIDTH)


@pytest.mark.parametrize("seed", range(20))
def test_polygons_have_the_same_pixels_as_in_coco(seed: int) -> None:
    polygons = [polygon(seed), polygon(seed + 100, 3)]
    expected = coco.decode(coco.merge(coco.frPyObjects(polygons, HEIGHT, WIDTH)))
    np.testing.assert_array_equal(mask_of({"segmentation": polygons}), expected)


@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 80))
def test_run_lengths_in_all_forms_give_their_mask(seed: int, height: int, width: int) -> None:
    mask = random_mask(seed, height, width)
    as_bytes = compressed(mask)
    as_text = as_bytes | {"counts": as_bytes["counts"].decode()}
    for segmentation in (as_bytes, as_text, uncompressed(mask)):
        encoded = encode_annotation({"segmentation": segmentation}, height, width)
        decoded = decode_mask(encoded, height, width)
        np.testing.assert_array_equal(decoded, mask)
        assert decoded.flags.c_contiguous
        assert decoded.dtype == np.bool_


@pytest.mark.parametrize("segmentation", [None, [], [[]], [[3, 4, 5, 6]]])
def test_uses_the_box_if_the_segmentation_has_no_polygon(segmentation: object) -> None:
    box = [10.2, 5, 30, 20.6]
    expected = coco.decode(coco.frPyObjects(np.array([box]), HEIGHT, WIDTH))[..., 0]
    annotation = {"bbox": box, "segmentation": segmentation}
    np.testing.assert_array_equal(mask_of(annotation), expected)
    assert not has_outline(annotation)


def test_merges_masks() -> None:
    masks = [random_mask(1), random_mask(6), random_mask(9)]
    encoded = [encode_annotation({"segmentation": compressed(m)}, HEIGHT, WIDTH) for m in masks]
    merged = decode_mask(merge_masks(encoded, HEIGHT, WIDTH), HEIGHT, WIDTH)
    np.testing.assert_array_equal(merged, masks[0] | masks[1] | masks[2])
    assert merge_masks(encoded[:1], HEIGHT, WIDTH) == encoded[0]
    assert merge_masks([], HEIGHT, WIDTH) == b""


def test_a_box_is_not_an_outline() -> None:
    assert has_outline({"segmentation": [polygon(0)]})
    assert has_outline({"segmentation": compressed(random_mask(2))})
    assert not has_outline({"segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]})
    assert not has_outline({})


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [HEIGHT, WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": [5, 6]},
        {"size": [HEIGHT, WIDTH], "counts": [0, -3, HEIGHT * WIDTH + 3]},
        {"size": [HEIGHT, WIDTH], "counts": "0"},
        {"size": [HEIGHT, WIDTH], "counts": 7},
        {
            "size": [WIDTH, HEIGHT],
            "counts": compressed(random_mask(3, WIDTH, HEIGHT + 1))["counts"],
        },
        [["a", "b", "c", "d", "e", "f"]],
        [[0, 0, 5, 0, None, 5]],
    ],
)
def test_rejects_invalid_segmentations(segmentation: object) -> None:
    with pytest.raises(InputError, match=r"^annotation 7: segmentation: ") as error:
        encode_annotation({"id": 7, "segmentation": segmentation}, HEIGHT, WIDTH)
    assert "\n" not in error.value.args[0]
