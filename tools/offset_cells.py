"""Finds the cells of annotated images that belong to people, and the features of the stem there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from higherhrnet import Predictor
from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.decoding.offsets.centers import find_centers
from higherhrnet.geometry import FIRST_PIXEL_CENTER, Resize, transform
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.datasets.coco import Entry, load_annotations
from higherhrnet.io.datasets.image_folder import find_images
from higherhrnet.io.datasets.image_store import ImageStore
from higherhrnet.network.higherhrnet import HigherHRNet

STRIDE = 4
"""Pixels of the network's input per cell."""
_MIN_CENTER = 0.04
"""The value that a local maximum of the center heatmap must exceed to be a candidate."""
_MAX_CANDIDATES = 40
"""Maximum number of local maxima of one view."""
_MAX_ERROR = 0.35
"""A cell belongs to the person whose keypoints have the smallest mean distance from those that the
untrained offsets lead to, if it is below this fraction of the person's size."""
_NEAR_CENTER, _MAX_ERROR_NEAR_CENTER = 0.15, 0.7
"""The same for a cell whose distance from the person's center is below the first fraction."""
_NEAR_CENTER_CELLS = torch.tensor(
    [(x, y) for x in range(-2, 3) for y in range(-2, 3) if (x + y) % 2 == 0]
)
"""Positions of cells relative to the center of a person."""
_MIN_SIZE = 2.5
"""Minimum size of a person (the square root of the area), in cells."""


class Cells(NamedTuple):
    """N cells that belong to people."""

    patches: Tensor
    """(N, C, 3, 3) the finest features around the cell, in half precision."""
    coarser: Tensor
    """(N, D) the coarser features, enlarged, at the cell, in half precision."""
    offsets: Tensor
    """(N, K, 2) the true offsets in cells; NaN for keypoints that are not labeled."""
    sizes: Tensor
    """(N,) the size of the person in cells."""
    weights: Tensor
    """(N,) the weight of the cell in the loss."""


def collect(
    network: HigherHRNet, predictor: Predictor, annotations: Path, folder: Path, bf16: bool
) -> list[Path]:
    """Writes the cells of a dataset's images, a file for each image, and returns the files."""
    truth = load_annotations(annotations)
    truth.require_people()
    store = ImageStore(find_images(annotations, truth.file_names))
    flip = np.array(predictor.header.skeleton.flip_index)
    people: dict[int | str, list[Entry]] = defaultdict(list)
    for person in truth.people:
        if person["num_keypoints"]:
            people[person["image_id"]].append(person)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for entry in tqdm(truth.labeled_images, annotations.parent.name, disable=None):
        files.append(folder / f"{annotations.parent.name}-{annotations.stem}-{entry['id']}.npz")
        if files[-1].exists():
            continue
        image = predictor.preprocess(store.read(entry["file_name"]))
        found = [
            cells
            for scale, resize in image.resizes.items()
            for cells in cells_of_views(
                network, image.inputs[scale], resize, people[entry["id"]], flip, bf16
            )
        ]
        parts = (torch.cat(arrays).numpy() for arrays in zip(*found, strict=True))
        with atomic_path(files[-1]) as path, path.open("wb") as file:
            np.savez(file, **dict(zip(Cells._fields, parts, strict=True)))  # type: ignore[arg-type]
    return files


def read_cells(files: list[Path]) -> Cells:
    """Reads the cells of all images."""
    parts: list[list[np.ndarray]] = [[] for _ in Cells._fields]
    for file in files:
        with np.load(file) as arrays:
            for part, name in zip(parts, Cells._fields, strict=True):
                part.append(arrays[name])
    return Cells(*(torch.from_numpy(np.concatenate(part)) for part in parts))


def cells_of_views(
    network: HigherHRNet,
    inputs: FloatArray,
    resize: Resize,
    people: list[Entry],
    flip: IndexArray,
    bf16: bool,
) -> Iterator[Cells]:
    """Finds the cells of an image at one scale that belong to people, plain and flipped."""
    keypoints = np.reshape([person["keypoints"] for person in people], (len(people), -1, 3))
    first = FIRST_PIXEL_CENTER[resize.convention]
    poses = transform(keypoints[..., :2] + first, resize.matrix) / STRIDE - first
    poses[keypoints[..., 2] == 0] = np.nan
    factor = np.sqrt(abs(np.linalg.det(resize.matrix[:, :2]))) / STRIDE
    sizes = torch.tensor([person["area"] for person in people]).sqrt() * factor
    images, plain = torch.from_numpy(inputs), torch.from_numpy(poses).float()
    yield cells_of_people(network, images, plain, sizes, bf16)
    flipped = plain[:, flip] * torch.tensor([-1, 1])
    flipped[..., 0] += images.shape[-1] / STRIDE - 2 * first
    yield cells_of_people(network, images.flip(3), flipped, sizes, bf16)


@torch.inference_mode()
def cells_of_people(
    network: HigherHRNet, image: Tensor, poses: Tensor, sizes: Tensor, bf16: bool
) -> Cells:
    """Finds the cells of one view that belong to people.

    Args:
        network: the network.
        image: (1, 3, H, W) the view.
        poses: (P, K, 2) x and y in cells, where the center of the first cell is at 0; NaN for
            keypoints that are not labeled.
        sizes: (P,) size of each person in cells.
        bf16: whether the features are computed in bfloat16.
    """
    assert network.stem and network.center_head
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        finest, *coarser = (features.float() for features in network.stem(image))
    finest = finest[:, : -network.num_heatmaps]
    maps = network.center_head([finest, *coarser])[0]
    _, height, width = maps.shape
    cells, weights = candidates(maps[0], poses.nanmean(1))
    flat = cells[:, 1] * width + cells[:, 0]
    offsets = maps[1:].reshape(-1, 2, height * width)[:, :, flat].permute(2, 0, 1)
    person, belongs = match_people(cells, offsets, poses, sizes)
    flat, person = flat[belongs], person[belongs]
    patches = F.unfold(finest, 3, padding=1)[0, :, flat].T
    enlarged = (F.interpolate(x, size=(height, width), mode="bilinear")[0] for x in coarser)
    labeled = (~poses.isnan().any(2)).sum(1)
    return Cells(
        patches.reshape(len(flat), finest.shape[1], 3, 3).half(),
        torch.cat([x.flatten(1)[:, flat] for x in enlarged]).T.half(),
        cells[belongs, None] - poses[person],
        sizes[person],
        weights[belongs] * labeled[person].clamp(max=8) / 8,
    )


def candidates(heatmap: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Finds cells that may belong to people.

    Args:
        heatmap: (h, w) center heatmap.
        centers: (P, 2) x and y of people's centers in cells.

    Returns:
        (N, 2) x and y of the local maxima of the heatmap, of the cells beside them, and of some
        cells near the centers of people; and (N,) weights, which are twice as high for maxima.
    """
    height, width = heatmap.shape
    maxima, _ = find_centers(heatmap.numpy(), _MIN_CENTER, _MAX_CANDIDATES)
    peaks = torch.from_numpy(np.stack([maxima % width, maxima // width], 1))
    beside = peaks[:, None] + torch.tensor([(0, 1), (1, 0), (0, -1), (-1, 0)])
    near = centers.round().long()[:, None] + _NEAR_CENTER_CELLS
    cells = torch.cat([peaks, beside.reshape(-1, 2), near.reshape(-1, 2)])
    weights = torch.ones(len(cells))
    weights[: len(peaks)] = 2
    return cells.minimum(torch.tensor([width, height]) - 1).clamp(min=0), weights


def match_people(
    cells: Tensor, offsets: Tensor, poses: Tensor, sizes: Tensor
) -> tuple[Tensor, Tensor]:
    """Finds the person to whom each cell may belong, by the offsets of the network.

    Args:
        cells: (N, 2) x and y.
        offsets: (N, K, 2) offsets of the network.
        poses: (P, K, 2) as in `cells_of_people`.
        sizes: (P,) size of each person in cells.

    Returns:
        (N,) the index of the most similar person, and (N,) whether the cell belongs to it.
    """
    errors = (cells[:, None, None] - offsets[:, None] - poses).norm(dim=3) / sizes[:, None]
    error, person = errors.clamp(max=2).nanmean(2).min(1)
    distance = (cells - poses.nanmean(1)[person]).norm(dim=1) / sizes[person]
    near_center = (distance < _NEAR_CENTER) & (error < _MAX_ERROR_NEAR_CENTER)
    return person, ((error < _MAX_ERROR) | near_center) & (sizes[person] > _MIN_SIZE)
