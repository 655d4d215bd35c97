"""Data augmentation: random crops of images, with their masks and people (paper, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray, Image
from higherhrnet.config.data import AugmentConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.data.color import jitter_color
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.data.paste import paste_people
from higherhrnet.geometry import FIRST_PIXEL_CENTER, Matrix, transform, warp
from higherhrnet.poses.skeleton import Skeleton

Prepare = Callable[[AnnotatedImage], AnnotatedImage]


@dataclass(frozen=True, eq=False)
class Sample:
    """An input of the network, S pixels wide and high, with its annotations."""

    name: str
    """The file name of the image, for messages."""
    image: Image
    """(S, S, 3) RGB, flipped if `flipped`."""
    keypoints: FloatArray
    """(P, K, 3) x and y in pixels of the input, in the coordinates of the convention, and
    visibility. For networks that predict offsets, the center of each person is one more keypoint,
    the last.

    If `flipped`, left and right keypoints are exchanged, but x is not flipped yet, since each map
    flips it on its own grid, as in the reference implementation.
    """
    sizes: FloatArray | DoubleArray
    """(P,) the size of each person in pixels of the input: the longer side of the box, or what
    `centers.add_centers` returns."""
    flipped: bool
    """Whether the sample is flipped."""
    masks: tuple[BoolArray, ...]
    """For each stride, (S / stride, S / stride) whether a cell contributes to the loss; flipped if
    `flipped`."""
    labeled: BoolArray
    """(K,) the keypoints that the dataset annotates, with left and right exchanged if
    `flipped`."""


def augment(
    source: AnnotatedImage,
    config: AugmentConfig,
    input: InputConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
    strides: tuple[int, ...] = (4, 2),
    load_donor: Callable[[], AnnotatedImage] | None = None,
    prepare: Prepare | None = None,
) -> Sample:
    """Creates a random sample of an image.

    Args:
        source: the image, which is not changed.
        config: the data augmentation.
        input: size and convention of the network's input.
        skeleton: the skeleton of the people.
        rng: the source of random numbers.
        strides: strides of the maps that need a mask.
        load_donor: returns an image whose people may be pasted into this one (default: none are
            pasted).
        prepare: changes the people of the image before it is cropped (default: they are not
            changed).
    """
    if load_donor and rng.random() < config.paste:
        source = paste_people(source, load_donor(), rng)
    if config.color:
        source = replace(source, image=jitter_color(source.image, config.color, rng))
    size = np.array(source.image.shape[1::-1])
    side = (size.min() if config.base_side == "short" else size.max()) * rng.uniform(*config.scale)
    center: NDArray[np.floating] = size / 2
    if config.center_on_keypoint and rng.random() < config.center_on_keypoint:
        center = _random_keypoint(source, rng, center)
    center = center + rng.uniform(-1, 1, 2) * config.translation * side
    if prepare:
        source = prepare(source)
    matrix = crop_matrix(center, side, rng.uniform(-1, 1) * config.rotation, input.size)
    sample = crop(source, matrix, input, strides, config.mask_padding)
    return flip_sample(sample, skeleton) if rng.random() < config.flip else sample


def _random_keypoint(
    source: AnnotatedImage, rng: np.random.Generator, default: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Returns (2,) x and y of a random labeled keypoint, or the default if there is none."""
    labeled = source.keypoints[source.keypoints[..., 2] > 0]
    return labeled[rng.integers(len(labeled)), :2] if len(labeled) else default


def crop_matrix(center: NDArray[np.floating], side: float, degrees: float, size: int) -> Matrix:
    """Computes the transform from a square of the image to the network's input.

    Args:
        center: (2,) x and y of the square's center, in pixels of the image, in the coordinates of
            the convention.
        side: side of the square in pixels of the image.
        degrees: counterclockwise rotation of the image content.
        size: width and height of the network's input in pixels.
    """
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = size / side * rotation
    return np.column_stack([linear, size / 2 - linear @ center])


def crop(
    source: AnnotatedImage,
    matrix: Matrix,
    input: InputConfig,
    strides: tuple[int, ...] = (4, 2),
    mask_padding: bool = True,
) -> Sample:
    """Creates the sample of an image for a given transform.

    Args:
        source: the image, which is not changed.
        matrix: maps the image to the input, both in the coordinates of the convention.
        input: size and convention of the network's input.
        strides: strides of the maps that need a mask.
        mask_padding: whether the loss ignores the area outside the image.
    """
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    keypoints = source.keypoints.copy()
    positions = keypoints[..., :2] + FIRST_PIXEL_CENTER[input.convention]
    keypoints[..., :2] = transform(positions, matrix)
    return Sample(
        source.name,
        warp(source.image, matrix, (input.size, input.size), input.convention),
        keypoints,
        source.sizes * source.sizes.dtype.type(scale),
        False,
        tuple(_mask(source, matrix, input, stride, mask_padding) for stride in strides),
        source.labeled,
    )


def _mask(
    source: AnnotatedImage, matrix: Matrix, input: InputConfig, stride: int, mask_padding: bool
) -> BoolArray:
    """Samples the mask at the map's cells, as the reference implementation does."""
    side = input.size // stride
    if source.mask is not None:
        image_mask = source.mask.view(np.uint8) * np.uint8(255)
    elif mask_padding:
        image_mask = np.full(source.image.shape[:2], 255, np.uint8)
    else:
        return np.ones((side, side), np.bool_)
    border = 0 if mask_padding else 255
    return warp(image_mask, matrix / stride, (side, side), input.convention, border) > 127


def flip_sample(sample: Sample, skeleton: Skeleton) -> Sample:
    """Flips a sample horizontally, and exchanges left and right; see `Sample.keypoints`.

    Further keypoints after those of the skeleton, such as the center, are not exchanged.
    """
    further = range(len(skeleton), sample.keypoints.shape[1])
    flip_index = [*skeleton.flip_index, *further]
    return replace(
        sample,
        image=np.asarray(cv2.flip(sample.image, 1), np.uint8),
        keypoints=sample.keypoints[:, flip_index],
        flipped=not sample.flipped,
        masks=tuple(np.ascontiguousarray(mask[:, ::-1]) for mask in sample.masks),
        labeled=sample.labeled[flip_index],
    )
