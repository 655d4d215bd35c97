"""Photograph → sample: one random crop of image, masks and people ("HigherHRNet", section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray, Image
from higherhrnet.config import InputConfig
from higherhrnet.data.color import jitter_color
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.data.paste import paste_people
from higherhrnet.geometry import FIRST_PIXEL_CENTER, Matrix, transform, warp
from higherhrnet.recipes import AugmentConfig
from higherhrnet.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Sample:
    """What the network sees once, and what it should find there; S pixels wide and high."""

    name: str
    """The photograph's file, for messages."""
    image: Image
    """(S, S, 3), mirrored if `flipped`."""
    keypoints: NDArray[np.float32]
    """(P, K, 3) x and y in pixels of the input, in the convention's coordinates; visibility.

    If `flipped`, left and right have changed places, but x is yet to be mirrored: each map does
    that on its own grid, as the original.
    """
    sizes: NDArray[np.float32]
    """(P,) the longer side of each person's box, in pixels of the input."""
    flipped: bool
    masks: tuple[BoolArray, ...]
    """For each stride, (S / stride, S / stride) True where the loss counts, mirrored if
    `flipped`."""
    labeled: BoolArray
    """(K,) the keypoints that are annotated, left and right exchanged if `flipped`."""


def augment(
    photograph: AnnotatedImage,
    config: AugmentConfig,
    input: InputConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
    strides: tuple[int, ...] = (4, 2),
    other: Callable[[], AnnotatedImage] | None = None,
) -> Sample:
    """One variation of a photograph.

    Args:
        photograph: is not changed.
        config: how much it is varied.
        input: size and convention of what the network sees.
        skeleton: tells left from right.
        rng: decides.
        strides: of the maps that need a mask.
        other: gives a photograph whose people may be pasted into this one.
    """
    if other and rng.random() < config.paste:
        photograph = paste_people(photograph, other(), rng)
    if config.color:
        image = jitter_color(photograph.image, config.color, rng)
        photograph = replace(photograph, image=image)
    size = np.array(photograph.image.shape[1::-1])
    side = (size.min() if config.base_side == "short" else size.max()) * rng.uniform(*config.scale)
    middle: NDArray[np.floating] = size / 2
    if config.center_on_keypoint and rng.random() < config.center_on_keypoint:
        middle = _keypoint(photograph, rng, middle)
    center = middle + rng.uniform(-1, 1, 2) * config.translation * side
    matrix = crop_matrix(center, side, rng.uniform(-1, 1) * config.rotation, input.size)
    sample = crop(photograph, matrix, input, strides, config.mask_padding)
    return mirror(sample, skeleton) if rng.random() < config.flip else sample


def _keypoint(
    photograph: AnnotatedImage, rng: np.random.Generator, otherwise: NDArray[np.floating]
) -> NDArray[np.floating]:
    """(2,) x and y of a random keypoint."""
    seen = photograph.keypoints[photograph.keypoints[..., 2] > 0]
    return seen[rng.integers(len(seen)), :2] if len(seen) else otherwise


def crop_matrix(center: NDArray[np.floating], side: float, degrees: float, size: int) -> Matrix:
    """A square of the photograph → (size, size) pixels, both in the convention's coordinates.

    Args:
        centre: (2,) x and y of its middle.
        side: of the square, in pixels of the photograph.
        degrees: by which what is in it is turned anticlockwise, as a viewer sees it.
        size: of what becomes of it, pixels.
    """
    angle = np.deg2rad(degrees)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = size / side * turned
    return np.column_stack([linear, size / 2 - linear @ center])


def crop(
    photograph: AnnotatedImage,
    matrix: Matrix,
    input: InputConfig,
    strides: tuple[int, ...] = (4, 2),
    mask_padding: bool = True,
) -> Sample:
    """The part of a photograph that a matrix brings into the network's input.

    Args:
        photograph: is not changed.
        matrix: photograph to input, both in the convention's coordinates.
        input: size and convention of what the network sees.
        strides: of the maps that need a mask.
        mask_padding: the loss does not count beyond the photograph's edge.
    """
    factor = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    keypoints = photograph.keypoints.copy()
    places = keypoints[..., :2] + FIRST_PIXEL_CENTER[input.convention]
    keypoints[..., :2] = transform(places, matrix)
    return Sample(
        photograph.name,
        warp(photograph.image, matrix, input.size, input.size, input.convention),
        keypoints,
        photograph.sizes * np.float32(factor),
        False,
        tuple(_mask(photograph, matrix, input, stride, mask_padding) for stride in strides),
        photograph.labeled,
    )


def _mask(
    photograph: AnnotatedImage, matrix: Matrix, input: InputConfig, stride: int, mask_padding: bool
) -> BoolArray:
    """(S / stride, S / stride), sampled where the map's cells are, as the original."""
    side = input.size // stride
    if photograph.mask is not None:
        full = photograph.mask.view(np.uint8) * np.uint8(255)
    elif mask_padding:
        full = np.full(photograph.image.shape[:2], 255, np.uint8)
    else:
        return np.ones((side, side), np.bool_)
    border = 0 if mask_padding else 255
    return warp(full, matrix / stride, side, side, input.convention, border) > 127


def mirror(sample: Sample, skeleton: Skeleton) -> Sample:
    """The mirror image, in which left and right have changed places; see `Sample.keypoints`."""
    other = list(skeleton.flip_index)
    return replace(
        sample,
        image=np.asarray(cv2.flip(sample.image, 1), np.uint8),
        keypoints=sample.keypoints[:, other],
        flipped=not sample.flipped,
        masks=tuple(np.ascontiguousarray(mask[:, ::-1]) for mask in sample.masks),
        labeled=sample.labeled[other],
    )
