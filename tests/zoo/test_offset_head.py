"""The training of the bundled model's offsets: its cells, and its effect on an annotated image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import higherhrnet
from higherhrnet import Predictor

torch = pytest.importorskip("torch")

from torch import Tensor

from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from tools.offset_cells import Cells, cells_of_people, read_cells
from tools.offset_head import predict_at, train_offsets

MODEL = Path(higherhrnet.__file__).with_name("zoo") / "default.safetensors"
IMAGE = Path(__file__).parent.parent.parent / "examples" / "basketball1.png"
SHIFT = 30
"""Pixels by which the annotated ankles are to the right of those that the model finds."""
ANKLES = [15, 16]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with the players that the model finds, whose ankles are moved."""
    folder = tmp_path_factory.mktemp("players")
    (folder / "images").mkdir()
    shutil.copy(IMAGE, folder / "images")
    poses = Predictor.load(MODEL, engine="torch")(IMAGE)
    people = []
    for number, keypoints in enumerate(poses.keypoints.astype(float)):
        keypoints[ANKLES, 0] += SHIFT
        low, sides = keypoints.min(0), np.ptp(keypoints, 0)
        triples = np.column_stack([keypoints, np.full(17, 2)])
        triples[0] = 0  # the nose is not labeled
        people.append(
            {
                "id": number + 1,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "num_keypoints": 16,
                "keypoints": triples.ravel().tolist(),
                "bbox": [*low, *sides],
                "area": float(sides.prod() / 2),
            }
        )
    names = list(poses.skeleton.names)
    data = {
        "images": [{"id": 1, "file_name": IMAGE.name, "width": 640, "height": 480}],
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture(scope="module")
def trained(annotated: Path) -> Path:
    out = annotated.with_name("trained.safetensors")
    train_offsets(
        MODEL, out, annotated.with_name("features"), [annotated], epochs=60, batch_size=64
    )
    return out


def errors(model: Path, cells: Cells) -> Tensor:
    """Returns the (N, K) errors of the offsets as fractions of the person's size."""
    network, _ = checkpoint.load(model)
    assert isinstance(network, HigherHRNet) and network.center_head
    with torch.inference_mode():
        branch = network.center_head.offsets
        predicted = predict_at(branch, cells.patches.float(), cells.coarser.float())
    distances: Tensor = (predicted - cells.offsets).norm(dim=2) / cells.sizes[:, None]
    return distances


def test_offsets_of_all_views_lead_to_the_annotated_keypoints(
    annotated: Path, trained: Path
) -> None:
    cells = read_cells([*annotated.with_name("features").iterdir()])
    assert len(cells.sizes) > 40 and len(set(cells.sizes.tolist())) == 4  # two people at two scales
    others = [k for k in range(17) if k not in [0, *ANKLES]]
    assert errors(MODEL, cells)[:, others].median() < 0.15  # 0.22 with wrongly flipped keypoints
    assert cells.offsets[:, 0].isnan().all()
    of_ankles = errors(MODEL, cells)[:, ANKLES].mean(1)
    assert of_ankles.min() > 0.5 * SHIFT / 480 and of_ankles.mean() > 0.1


def test_training_moves_the_offsets_to_the_annotated_keypoints(
    annotated: Path, trained: Path
) -> None:
    cells = read_cells([*annotated.with_name("features").iterdir()])
    before, after = (errors(model, cells)[:, ANKLES].mean() for model in (MODEL, trained))
    assert after < 0.5 * before
    poses = [Predictor.load(model, engine="torch")(IMAGE) for model in (MODEL, trained)]
    old, new = (checkpoint.load(model)[0].state_dict() for model in (MODEL, trained))
    changed = [name for name, weight in new.items() if not torch.equal(weight, old[name])]
    assert changed and all(name.startswith("center_head.offsets.") for name in changed)
    assert len(poses[0]) == len(poses[1])


def test_features_are_computed_once(annotated: Path, trained: Path, tmp_path: Path) -> None:
    (file,) = annotated.with_name("features").iterdir()
    before = file.stat().st_mtime_ns
    out = tmp_path / "again.safetensors"
    train_offsets(MODEL, out, file.parent, [annotated], epochs=1, batch_size=64)
    assert file.stat().st_mtime_ns == before


def test_no_cell_belongs_to_people_who_are_too_small() -> None:
    network, _ = checkpoint.load(MODEL)
    assert isinstance(network, HigherHRNet)
    poses, sizes = torch.full((1, 17, 2), 8.0), torch.ones(1)
    cells = cells_of_people(network, torch.zeros(1, 3, 64, 64), poses, sizes, bf16=False)
    assert [len(part) for part in cells] == [0] * 5
    assert cells.patches.shape[1:] == (24, 3, 3)
