"""A sheet of samples as the network is shown them, with what it should answer drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from higherhrnet.arrays import Image
from higherhrnet.config import InputConfig
from higherhrnet.data.augment import Sample, augment
from higherhrnet.data.dataset import KeypointDataset, load_dataset
from higherhrnet.errors import InputError
from higherhrnet.geometry import FIRST_PIXEL_CENTER
from higherhrnet.io.images import write_image
from higherhrnet.poses import Poses
from higherhrnet.recipes import AugmentConfig, DataConfig, TargetConfig
from higherhrnet.skeleton import Skeleton
from higherhrnet.training.targets import render_heatmaps, to_map_coordinates
from higherhrnet.visualization.maps import BACKGROUND_COLOR, TEXT_COLOR, draw_heatmaps
from higherhrnet.visualization.poses import draw

TILE_SIZE, CAPTION, COLUMNS = 300, 20, 2
"""Pixels of a picture's side and of the line above it; samples in a row."""

_SHADE = np.array([120, 40, 160])  # purple, as nothing on a photograph


def write_sheet(
    path: Path,
    sources: Sequence[str],
    augmentation: AugmentConfig,
    input: InputConfig,
    count: int = 16,
) -> Path:
    """Write `draw_sheet` of data sets, each ANNOTATIONS[,PICTURES[,WEIGHT]], to a file."""
    config = DataConfig(train=tuple(sources))
    photographs = load_dataset(config, outlines=augmentation.paste > 0)
    write_image(path, draw_sheet(photographs, augmentation, input, count))
    return path


def draw_sheet(
    photographs: KeypointDataset,
    augmentation: AugmentConfig,
    input: InputConfig,
    count: int = 16,
    seed: int = 0,
) -> Image:
    """Random samples, each as two pictures: the people, and the heatmaps at the finest resolution.

    What is shaded purple is masked: nothing is learnt there. Photographs that cannot be read are
    passed over.

    Raises:
        InputError: none can be read.
    """
    rng = np.random.default_rng(seed)
    chances = photographs.weights / photographs.weights.sum()
    tiles: list[Image] = []
    for index in rng.choice(len(photographs), len(photographs), replace=False, p=chances):
        try:
            sample = augment(
                photographs[int(index)],
                augmentation,
                input,
                photographs.skeleton,
                rng,
                other=lambda: photographs[int(rng.choice(len(photographs), p=chances))],
            )
        except InputError:
            continue
        tiles.append(_tile(sample, photographs.skeleton, input))
        if len(tiles) == count:
            break
    if not tiles:
        raise InputError("no picture can be read, so no sample can be drawn")
    tiles += [np.full_like(tiles[0], BACKGROUND_COLOR)] * (-len(tiles) % COLUMNS)
    return np.vstack([np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)])


def _tile(sample: Sample, skeleton: Skeleton, input: InputConfig) -> Image:
    """(CAPTION + TILE, 2 TILE, 3) the people on a sample and its heatmaps, under its name."""
    mask, convention = sample.masks[-1], input.convention
    keypoints, flipped = torch.from_numpy(sample.keypoints)[None], torch.tensor([sample.flipped])
    cells = to_map_coordinates(keypoints, flipped, input.size // len(mask), len(mask), convention)
    targets = render_heatmaps(cells, len(mask), len(mask), TargetConfig().sigma, convention)
    pixels = to_map_coordinates(keypoints, flipped, 1, input.size, convention)[0].numpy()
    seen = (pixels[..., 2] > 0).astype(np.float32)
    places = (pixels[..., :2] - np.float32(FIRST_PIXEL_CENTER[convention])) * seen[..., None]
    poses = Poses(places, seen, np.ones(len(seen), np.float32), skeleton)
    size = input.size, input.size
    shade = cv2.resize((~mask).astype(np.float32), size)[..., None] / 2
    shown = (sample.image * (1 - shade) + _SHADE * shade).astype(np.uint8)
    pair = draw(shown, poses), draw_heatmaps(sample.image, targets[0].numpy() * mask)
    small = [
        cv2.resize(picture, (TILE_SIZE, TILE_SIZE), interpolation=cv2.INTER_AREA)
        for picture in pair
    ]
    head = np.full((CAPTION, 2 * TILE_SIZE, 3), BACKGROUND_COLOR, np.uint8)
    text = f"{sample.name}, mirrored" if sample.flipped else sample.name
    cv2.putText(
        head, text, (4, CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, TEXT_COLOR, 1, cv2.LINE_AA
    )
    return np.vstack([head, np.hstack(small)])
