"""Pastes people of one image into another."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray, Image
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.data.rle import decode_mask
from higherhrnet.geometry import Matrix, transform, warp

MAX_PEOPLE = 3
"""Maximum number of people that are pasted at once."""
SCALE_RANGE = (0.5, 1.5)
"""Minimum and maximum scale of the people, relative to the scale at which the shorter sides of both
images are equal."""


def paste_people(
    target: AnnotatedImage, donor: AnnotatedImage, rng: np.random.Generator
) -> AnnotatedImage:
    """Pastes up to three people of one image into another, at random positions and scales.

    Keypoints that they cover are no longer visible. People without an outline are not pasted, and
    nobody is if the target's dataset annotates keypoints that the donor's does not.

    Args:
        target: the image to paste into, which is not changed.
        donor: the image of the people, loaded with outlines.
        rng: the source of random numbers.
    """
    candidates = [person for person, outline in enumerate(donor.outlines) if outline]
    if not candidates or (target.labeled & ~donor.labeled).any():
        return target
    shape, donor_shape = target.image.shape[:2], donor.image.shape[:2]
    image, keypoints = target.image.copy(), target.keypoints.copy()
    sizes, areas = target.sizes, target.areas
    mask = np.ones(shape, np.bool_) if target.mask is None else target.mask.copy()
    for person in rng.permutation(candidates)[: rng.integers(1, MAX_PEOPLE, endpoint=True)]:
        outline = decode_mask(donor.outlines[person], *donor_shape)
        scale = rng.uniform(*SCALE_RANGE) * min(shape) / min(donor_shape)
        corner, cutout = _cut_out(donor.image, outline)
        center = corner + np.array(cutout.shape[1::-1]) / 2
        offset = rng.uniform(0, shape[::-1]) - scale * center
        matrix = np.column_stack([np.eye(2) * scale, offset])
        covered = _blend(image, cutout, corner, matrix)
        keypoints[..., 2] *= ~_inside(keypoints, covered)
        pasted = donor.keypoints[[person]].copy()
        pasted[..., :2] = transform(pasted[..., :2], matrix)
        pasted[..., 2] *= _inside(pasted, np.ones_like(covered))
        keypoints = np.concatenate([keypoints, pasted])
        sizes = np.append(sizes, donor.sizes[person] * np.float32(scale))
        areas = np.append(areas, donor.areas[person] * np.float32(scale**2))
        mask |= covered
    new_mask = None if target.mask is None else mask
    pasted_into = replace(target, image=image, mask=new_mask, outlines=())
    return replace(pasted_into, keypoints=keypoints, sizes=sizes, areas=areas)


def _cut_out(image: Image, outline: BoolArray) -> tuple[DoubleArray, NDArray[np.uint8]]:
    """Crops an image to a mask.

    Returns:
        (2,) x and y of the crop's corner, and the (h, w, 4) crop, whose last channel is 255 in the
        mask and 0 elsewhere.
    """
    x, y, width, height = cv2.boundingRect(outline.view(np.uint8))
    window = slice(y, y + height), slice(x, x + width)
    alpha = outline[window].view(np.uint8) * np.uint8(255)
    return np.array([x, y], np.float64), np.dstack([image[window], alpha])


def _blend(
    image: Image, cutout: NDArray[np.uint8], corner: DoubleArray, matrix: Matrix
) -> BoolArray:
    """Blends a cutout into an image, in place, with a soft edge.

    Args:
        image: (H, W, 3).
        cutout: (h, w, 4) as `_cut_out` returns it.
        corner: (2,) the corner of the cutout in its image.
        matrix: maps that image to this one.

    Returns:
        (H, W) whether the cutout covers each pixel.
    """
    height, width = image.shape[:2]
    corners = transform(corner + np.array([[0, 0], cutout.shape[1::-1]]), matrix)
    left, top = np.floor(corners[0]).clip(0).astype(int)
    right, bottom = np.ceil(corners[1]).clip(0, (width, height)).astype(int)
    covered = np.zeros((height, width), np.bool_)
    if left >= right or top >= bottom:
        return covered
    to_window = np.column_stack([matrix[:, :2], transform(corner, matrix) - (left, top)])
    layer = warp(cutout, to_window, (bottom - top, right - left), "reference")
    alpha = cv2.GaussianBlur(layer[..., 3:], (5, 5), 0).astype(np.uint16)[..., None]
    window = image[top:bottom, left:right]
    window[:] = (window * (255 - alpha) + layer[..., :3] * alpha + 127) // 255
    covered[top:bottom, left:right] = alpha[..., 0] > 127
    return covered


def _inside(keypoints: FloatArray, mask: BoolArray) -> BoolArray:
    """Returns (P, K) whether the pixel of each keypoint is inside the image and the mask."""
    height, width = mask.shape
    x, y = np.moveaxis(np.rint(keypoints[..., :2]).astype(int), -1, 0)
    in_image = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    inside: BoolArray = in_image & mask[y.clip(0, height - 1), x.clip(0, width - 1)]
    return inside
