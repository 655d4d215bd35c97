"""Targets of centers and offsets against DEKR's authors, and against loops over cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

torch = pytest.importorskip("torch")

from torch import Tensor

from higherhrnet.config.data import DataConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.config.recipes import RECIPES
from higherhrnet.data.augment import crop, crop_matrix, flip_sample
from higherhrnet.data.centers import add_centers
from higherhrnet.data.dataset import AnnotatedImage, load_dataset
from higherhrnet.data.loader import Batch, collate
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.training.offset_targets import (
    make_offset_targets,
)
from higherhrnet.training.targets import to_map_coordinates

Arrays = dict[str, np.ndarray]


def load_cases(folder: Path) -> dict[str, Arrays]:
    """The arrays of each case by name."""
    cases: dict[str, Arrays] = {}
    with np.load(folder / "targets.npz") as arrays:
        for key in arrays:
            case, name = key.split("/", 1)
            cases.setdefault(case, {})[name] = arrays[key]
    return cases


def batch_of(points: Tensor, sizes: Tensor, side: int) -> Batch:
    """One image whose maps have the coordinates of its input, with a stride of 1."""
    mask, labeled = torch.ones(1, side, side) > 0, torch.ones(1, points.shape[2]) > 0
    images = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    return Batch(["a.jpg"], images, points, sizes, torch.tensor([False]), labeled, [mask])


@pytest.mark.golden
def test_targets_equal_those_of_the_authors(golden_dekr: Path) -> None:
    cases = {k: v for k, v in load_cases(golden_dekr).items() if not k.startswith("sample")}
    assert len(cases) >= 14
    for case, arrays in cases.items():
        side, keypoints = arrays["meta"].tolist()
        points = torch.from_numpy(arrays["people"])[None].float()
        sizes = torch.from_numpy(np.sqrt(arrays["area"][:, 0]))[None]
        dataset = "coco" if keypoints == 17 else "crowdpose"
        config = RECIPES[f"dekr-{dataset}-w32-512"].targets
        targets = make_offset_targets(batch_of(points, sizes, side), config, "reference")
        for name, computed, expected in (
            ("heatmap", targets.heatmaps, arrays["heatmap"]),
            ("near", targets.heatmap_weights, np.where(arrays["near"], 1, np.float32(0.1))),
            ("offset", targets.offsets, arrays["offset"]),
            ("weight", targets.offset_weights, arrays["offset_weight"]),
        ):
            np.testing.assert_allclose(
                computed[0], expected, rtol=1e-5, atol=1e-5, err_msg=f"{case} {name}"
            )


@pytest.mark.golden
@pytest.mark.parametrize("index", range(6))
def test_samples_of_annotations_equal_those_of_the_authors(
    index: int, golden_dekr: Path, tmp_path: Path
) -> None:
    arrays = load_cases(golden_dekr)[f"sample{index}"]
    input_size, _, keypoints = arrays["meta"].tolist()
    skeleton, name = (COCO, "coco") if keypoints == 17 else (CROWDPOSE, "crowdpose")
    config = RECIPES[f"dekr-{name}-w32-512"].targets
    height, width = arrays["image_height_width"].tolist()
    source = load_image(tmp_path, json.loads(str(arrays["annotations"])), height, width, name)

    source = add_centers(source, config.offsets)
    np.testing.assert_allclose(source.keypoints, arrays["in_people"], rtol=1e-5)
    np.testing.assert_allclose(source.sizes**2, arrays["in_area"][:, 0], rtol=1e-5)
    mask = np.ones((height, width), np.bool_) if source.mask is None else source.mask
    np.testing.assert_array_equal(mask, arrays["in_mask"])

    matrix = crop_matrix(
        arrays["centre"], float(arrays["crop_side"]), float(arrays["degrees"]), input_size
    )
    sample = crop(source, matrix, InputConfig(input_size), (4,))
    if arrays["flipped"]:
        sample = flip_sample(sample, skeleton)
    np.testing.assert_array_equal(sample.masks[0], arrays["out_mask"])
    np.testing.assert_allclose(sample.sizes**2, arrays["out_area"][:, 0], rtol=1e-5)
    batch = collate([sample])
    side = len(sample.masks[0])
    points = to_map_coordinates(batch.keypoints, batch.flipped, 4, side, "reference")[0]
    np.testing.assert_allclose(points, arrays["out_people"], atol=1e-4)

    targets = make_offset_targets(batch, config, "reference")
    for computed, part in zip(targets, ("heatmap", "mask", "offset", "offset_weight"), strict=True):
        np.testing.assert_allclose(computed[0], arrays[part], atol=2e-5, err_msg=part)


def load_image(
    folder: Path, people: list[dict[str, object]], height: int, width: int, skeleton: str
) -> AnnotatedImage:
    """Writes an annotation file with a black image, and loads the image for training."""
    Pillow.new("RGB", (width, height)).save(folder / "1.png")
    names = {"coco": COCO, "crowdpose": CROWDPOSE}[skeleton].names
    category = {"id": 1, "name": "person", "keypoints": names}
    image = {"id": 1, "file_name": "1.png", "height": height, "width": width}
    file = folder / "annotations.json"
    contents = {"images": [image], "annotations": people, "categories": [category]}
    file.write_text(json.dumps(contents))
    return load_dataset(DataConfig((str(file),), skeleton=skeleton))[0]
