"""The validation set: what it is, that it fits, and the sheet of pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from higherhrnet.data.dataset import load_dataset  # noqa: E402
from higherhrnet.errors import InputError  # noqa: E402
from higherhrnet.evaluation.metrics import evaluate_results  # noqa: E402
from higherhrnet.inference.predictor import Predictor  # noqa: E402
from higherhrnet.io.coco import load_annotations  # noqa: E402
from higherhrnet.network import checkpoint  # noqa: E402
from higherhrnet.recipes import DataConfig  # noqa: E402
from higherhrnet.skeleton import COCO, CROWDPOSE  # noqa: E402
from higherhrnet.synthetic.scenes import write_scenes  # noqa: E402
from higherhrnet.training.loop import run_training  # noqa: E402
from higherhrnet.training.parallel import ProcessGroup  # noqa: E402
from higherhrnet.training.validate import Validator, load_validator  # noqa: E402
from tests.training.conftest import Small  # noqa: E402

ALONE = ProcessGroup(torch.device("cpu"))


def validation_of(config: DataConfig) -> Validator:
    found = load_validator(config, COCO, ALONE)
    assert found
    return found


@pytest.fixture
def uneven(scenes: Path) -> Path:
    """The scenes, of which the first shows nobody and the second somebody without keypoints."""
    content = json.loads(scenes.read_text())
    first, second = (image["id"] for image in content["images"][:2])
    people = [p for p in content["annotations"] if p["image_id"] != first]
    for person in people:
        if person["image_id"] == second:
            person |= {"keypoints": [0] * 51, "num_keypoints": 0, "iscrowd": 0}
    path = scenes.with_name("uneven.json")
    path.write_text(json.dumps(content | {"annotations": people}))
    return path


def test_overfitting_trains_and_measures_on_the_same(uneven: Path) -> None:
    config = DataConfig((str(uneven), str(uneven)), overfit=3)
    trained, measured = load_dataset(config), validation_of(config)
    names = [image["file_name"] for image in measured.annotations.images]
    assert trained.names == names == [f"{n:012d}.png" for n in (3, 4, 5)]
    posed = sum(int((one.keypoints[..., 2] > 0).any(1).sum()) for one in trained)
    assert posed == measured.annotations.num_people > 0


def test_an_overfitting_run_measures_itself(small: Small, scenes: Path) -> None:
    config = small(overfit=3, epochs=1)
    assert run_training(config)
    header = checkpoint.load(config.run.out / "best.safetensors")[1]
    assert header.training["photographs"] == 3


def test_without_a_validation_set_there_is_none(scenes: Path) -> None:
    assert load_validator(DataConfig((str(scenes),)), COCO, ALONE) is None


@pytest.mark.parametrize("where", ["val", "train"])
def test_what_cannot_be_measured_is_said_before_the_first_step(
    where: str, small: Small, scenes: Path
) -> None:
    """COCO's scenes cannot be measured by a network for CrowdPose's keypoints."""
    values: dict[str, Any] = {"val": str(scenes)} if where == "val" else {"overfit": 2}
    config = small(skeleton="crowdpose", **values)
    with pytest.raises(InputError, match=r"annotations\.json: AP cannot be measured .* nose"):
        run_training(config)
    assert not config.run.out.exists()


def test_missing_pictures_are_said_before_the_first_step(small: Small, scenes: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        run_training(small(val=f"{scenes},{scenes.parent / 'nowhere'}"))


def test_one_unreadable_picture_does_not_keep_from_measuring(
    small: Small, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "images"
    shutil.copytree(scenes.parent / "images", pictures)
    first = load_annotations(scenes).images[0]["file_name"]
    (pictures / first).write_bytes(b"no picture")
    assert run_training(small(val=f"{scenes},{pictures}", epochs=1))
    assert first in capsys.readouterr().err


def test_figures_are_those_of_all_people_found(settled: Path, scenes: Path) -> None:
    annotations, pictures = load_annotations(scenes), scenes.parent / "images"
    network, header = checkpoint.load(settled)
    found = Validator(annotations, pictures, ALONE).measure(network, header)
    predictor = Predictor.load(settled, engine="torch", threads=1)
    people = [
        person
        for image in annotations.images
        for person in predictor(pictures / image["file_name"]).to_coco(image["id"])
    ]
    assert people and found == evaluate_results(annotations, people)


def test_a_set_with_fewer_keypoints_can_be_measured(
    small: Small, scenes: Path, tmp_path: Path
) -> None:
    """CrowdPose's people among those whose keypoints are COCO's and CrowdPose's together."""
    crowd = write_scenes(tmp_path / "crowd", 3, height=64, width=64, skeleton=CROWDPOSE)
    config = small(val=str(crowd), epochs=1)
    config = replace(config, data=replace(config.data, train=(str(scenes), str(crowd))))
    assert run_training(config)
    lines = [json.loads(line) for line in (config.run.out / "metrics.jsonl").open()]
    assert "AP_hard" in lines[-1]
    header = checkpoint.load(config.run.out / "last.safetensors")[1]
    assert header.skeleton.names == (*COCO.names, "head", "neck")
    assert header.training["data"] == [str(scenes), str(crowd)]


@pytest.mark.parametrize("count", [1, 3, 99])
def test_the_sheet_has_a_row_a_photograph_and_is_the_same_every_time(
    count: int, settled: Path, scenes: Path
) -> None:
    network, header = checkpoint.load(settled)
    validation = validation_of(DataConfig(val=str(scenes)))
    sheet = validation.draw(network, header, count)
    again = validation.draw(network, header, count)
    assert sheet is not None and again is not None
    rows = min(count, len(validation.annotations.labeled_images))
    assert sheet.shape == (rows * 248, 4 * 240, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet, again)
    assert all(np.ptp(row) > 100 for row in np.split(sheet, rows))


def test_no_pictures_are_no_sheet(settled: Path, scenes: Path) -> None:
    network, header = checkpoint.load(settled)
    assert validation_of(DataConfig(val=str(scenes))).draw(network, header, 0) is None
