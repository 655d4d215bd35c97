"""Draws training samples, as they are passed to the network, with their targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from higherhrnet.arrays import Image
from higherhrnet.config.data import AugmentConfig, DataConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.config.training import TargetConfig
from higherhrnet.data.augment import Sample, augment
from higherhrnet.data.dataset import KeypointDataset, load_dataset
from higherhrnet.errors import InputError
from higherhrnet.geometry import FIRST_PIXEL_CENTER
from higherhrnet.io.images import write_image
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.training.targets import render_heatmaps, to_map_coordinates
from higherhrnet.visualization.maps import BACKGROUND_COLOR, TEXT_COLOR, draw_heatmaps
from higherhrnet.visualization.poses import draw

TILE_SIZE, CAPTION_HEIGHT, COLUMNS = 300, 20, 2
"""Side of an image and height of the line above it in pixels; samples in a row."""

_MASK_COLOR = np.array([120, 40, 160])  # purple, which is rare in images


def write_sheet(
    path: Path,
    datasets: Sequence[str],
    augmentation: AugmentConfig,
    input_config: InputConfig,
    count: int = 16,
) -> Path:
    """Writes samples of datasets to an image file, as `draw_sheet` draws them.

    Args:
        path: the image file to write.
        datasets: the datasets, each as ANNOTATIONS[,IMAGES[,WEIGHT]].
        augmentation: the data augmentation.
        input_config: size and pixel convention of the network's input.
        count: the maximum number of samples.

    Returns:
        The path.

    Raises:
        InputError: a dataset cannot be loaded, or none of its images can be read.
    """
    dataset = load_dataset(DataConfig(train=tuple(datasets)), outlines=augmentation.paste > 0)
    write_image(path, draw_sheet(dataset, augmentation, input_config, count))
    return path


def draw_sheet(
    dataset: KeypointDataset,
    augmentation: AugmentConfig,
    input_config: InputConfig,
    count: int = 16,
) -> Image:
    """Draws random samples, each with its poses and with its heatmaps at stride 2.

    Areas that are excluded from the loss are purple. Images that cannot be read are skipped.

    Args:
        dataset: the training data.
        augmentation: the data augmentation.
        input_config: size and pixel convention of the network's input.
        count: the maximum number of samples.

    Raises:
        InputError: none of the images can be read.
    """
    rng = np.random.default_rng(0)
    probabilities = dataset.weights / dataset.weights.sum()
    tiles: list[Image] = []
    for index in rng.choice(len(dataset), len(dataset), replace=False, p=probabilities):
        try:
            sample = augment(
                dataset[int(index)],
                augmentation,
                input_config,
                dataset.skeleton,
                rng,
                load_donor=lambda: dataset[int(rng.choice(len(dataset), p=probabilities))],
            )
        except InputError:
            continue
        tiles.append(_draw_sample(sample, dataset.skeleton, input_config))
        if len(tiles) == count:
            break
    if not tiles:
        raise InputError("no samples can be drawn, because none of the images can be read")
    tiles += [np.full_like(tiles[0], BACKGROUND_COLOR)] * (-len(tiles) % COLUMNS)
    return np.vstack([np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)])


def _draw_sample(sample: Sample, skeleton: Skeleton, input_config: InputConfig) -> Image:
    """Draws name, poses and heatmaps: (CAPTION_HEIGHT + TILE_SIZE, 2 · TILE_SIZE, 3)."""
    mask, size, convention = sample.masks[-1], input_config.size, input_config.convention
    side = len(mask)
    keypoints, flipped = torch.from_numpy(sample.keypoints)[None], torch.tensor([sample.flipped])
    cells = to_map_coordinates(keypoints, flipped, size // side, side, convention)
    heatmaps = render_heatmaps(cells, side, side, TargetConfig().sigma, convention)[0].numpy()
    pixels = to_map_coordinates(keypoints, flipped, 1, size, convention)[0].numpy()
    visible = (pixels[..., 2] > 0).astype(np.float32)
    xy = (pixels[..., :2] - np.float32(FIRST_PIXEL_CENTER[convention])) * visible[..., None]
    poses = Poses(xy, visible, np.ones(len(visible), np.float32), skeleton)
    opacity = cv2.resize((~mask).astype(np.float32), (size, size))[..., None] / 2
    shaded = (sample.image * (1 - opacity) + _MASK_COLOR * opacity).astype(np.uint8)
    images = [
        cv2.resize(image, (TILE_SIZE, TILE_SIZE), interpolation=cv2.INTER_AREA)
        for image in (draw(shaded, poses), draw_heatmaps(sample.image, heatmaps * mask))
    ]
    caption = np.full((CAPTION_HEIGHT, 2 * TILE_SIZE, 3), BACKGROUND_COLOR, np.uint8)
    text = f"{sample.name}, flipped" if sample.flipped else sample.name
    origin, font = (4, CAPTION_HEIGHT - 6), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(caption, text, origin, font, 0.42, TEXT_COLOR, 1, cv2.LINE_AA)
    return np.vstack([caption, np.hstack(images)])
