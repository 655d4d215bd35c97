"""People of one photograph pasted into another."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import Image
from higherhrnet.data import masks as regions
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.geometry import Matrix, transform, warp

Point = NDArray[np.float64]
"""(2,) x and y."""

MOST = 3
"""People pasted at once, at most."""
FACTOR = (0.5, 1.5)
"""How large they become, besides what makes the shorter sides of the two photographs equal."""


def paste_people(
    onto: AnnotatedImage, donor: AnnotatedImage, rng: np.random.Generator
) -> AnnotatedImage:
    """A photograph with one to three people of another in it, anywhere, larger or smaller.

    Keypoints that they cover are no longer visible. People without a true outline are not pasted,
    nor any whose data set leaves out keypoints that the other one annotates.

    Args:
        onto: is not changed.
        donor: needs `outlines`.
        rng: decides who, where, and how large.
    """
    able = [person for person, outline in enumerate(donor.outlines) if outline]
    if not able or (onto.labeled & ~donor.labeled).any():
        return onto
    shape, donor_shape = onto.image.shape[:2], donor.image.shape[:2]
    image, keypoints, sizes = onto.image.copy(), onto.keypoints.copy(), onto.sizes
    mask = np.ones(shape, np.bool_) if onto.mask is None else onto.mask.copy()
    for person in rng.permutation(able)[: rng.integers(1, MOST, endpoint=True)]:
        outline = regions.decode(donor.outlines[person], *donor_shape)
        factor = rng.uniform(*FACTOR) * min(shape) / min(donor_shape)
        corner, cut = _cut(donor.image, outline)
        middle = corner + np.array(cut.shape[1::-1]) / 2
        offset = rng.uniform(0, shape[::-1]) - factor * middle
        matrix = np.column_stack([np.eye(2) * factor, offset])
        solid = _lay(image, cut, corner, matrix)
        keypoints[..., 2] *= ~_within(keypoints, solid)
        new = donor.keypoints[[person]].copy()
        new[..., :2] = transform(new[..., :2], matrix)
        new[..., 2] *= _within(new, np.ones_like(solid))
        keypoints = np.concatenate([keypoints, new])
        sizes = np.append(sizes, donor.sizes[person] * np.float32(factor))
        mask |= solid
    kept = None if onto.mask is None else mask
    return replace(onto, image=image, keypoints=keypoints, sizes=sizes, mask=kept, outlines=())


def _cut(image: Image, outline: NDArray[np.bool_]) -> tuple[Point, NDArray[np.uint8]]:
    """The corner of a region and the picture there, whose fourth channel is 255 in the region."""
    x, y, width, height = cv2.boundingRect(outline.view(np.uint8))
    window = slice(y, y + height), slice(x, x + width)
    alpha = outline[window].view(np.uint8) * np.uint8(255)
    return np.array([x, y], np.float64), np.dstack([image[window], alpha])


def _lay(image: Image, cut: NDArray[np.uint8], corner: Point, matrix: Matrix) -> NDArray[np.bool_]:
    """Lay a cut-out with a soft edge on the image, in place; (H, W) True where it covers it."""
    height, width = image.shape[:2]
    ends = transform(corner + np.array([[0, 0], cut.shape[1::-1]]), matrix)
    left, top = np.floor(ends[0]).clip(0).astype(int)
    right, bottom = np.ceil(ends[1]).clip(0, (width, height)).astype(int)
    solid = np.zeros((height, width), np.bool_)
    if left >= right or top >= bottom:
        return solid
    into = np.column_stack([matrix[:, :2], transform(corner, matrix) - (left, top)])
    layer = warp(cut, into, right - left, bottom - top, "reference")
    alpha = cv2.GaussianBlur(layer[..., 3:], (5, 5), 0).astype(np.uint16)[..., None]
    window = image[top:bottom, left:right]
    window[:] = (window * (255 - alpha) + layer[..., :3] * alpha + 127) // 255
    solid[top:bottom, left:right] = alpha[..., 0] > 127
    return solid


def _within(keypoints: NDArray[np.float32], region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(P, K) which keypoints' pixels are in a region of the picture."""
    height, width = region.shape
    x, y = np.moveaxis(np.rint(keypoints[..., :2]).astype(int), -1, 0)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    found: NDArray[np.bool_] = inside & region[y.clip(0, height - 1), x.clip(0, width - 1)]
    return found
