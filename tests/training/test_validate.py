"""Validation during training: the dataset, its metrics, and previews of the predictions."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from higherhrnet.config.data import DataConfig
from higherhrnet.data.dataset import load_dataset
from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.io.images import read_image
from higherhrnet.network import checkpoint
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.synthetic.scenes import write_scenes
from higherhrnet.training.loop import run_training
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.training.validate import Validator, load_validator
from tests.oriented import store_oriented
from tests.training.conftest import MakeConfig
from tests.training.processes import run_in_processes

ALONE = ProcessGroup(torch.device("cpu"))


def validator_of(config: DataConfig) -> Validator:
    validator = load_validator(config, ALONE)
    assert validator
    return validator


@pytest.fixture
def partly_labeled(scenes: Path) -> Path:
    """The scenes, of which the first has no people and the second has people without keypoints."""
    content = json.loads(scenes.read_text(encoding="utf-8"))
    first, second = (image["id"] for image in content["images"][:2])
    people = [p for p in content["annotations"] if p["image_id"] != first]
    for person in people:
        if person["image_id"] == second:
            person |= {"keypoints": [0] * 51, "num_keypoints": 0, "iscrowd": 0}
    path = scenes.with_name("partly_labeled.json")
    path.write_text(json.dumps(content | {"annotations": people}))
    return path


def test_overfit_trains_and_validates_on_the_same_images(partly_labeled: Path) -> None:
    config = DataConfig((str(partly_labeled), str(partly_labeled)), overfit=3)
    annotations = validator_of(config).annotations
    dataset = load_dataset(config, parsed=[annotations])
    names = [image["file_name"] for image in annotations.images]
    assert dataset.names == names == [f"{n:012d}.png" for n in (3, 4, 5)]
    assert load_dataset(config).names == names
    labeled = sum(int((image.keypoints[..., 2] > 0).any(1).sum()) for image in dataset)
    assert labeled == annotations.num_people > 0


def test_a_run_with_overfit_is_validated(make_config: MakeConfig, scenes: Path) -> None:
    config = make_config(overfit=3, epochs=1)
    assert run_training(config)
    header = checkpoint.load(config.run.out / "best.safetensors")[1]
    assert header.training["images"] == 3


def test_without_validation_data_there_is_no_validator(scenes: Path) -> None:
    assert load_validator(DataConfig((str(scenes),)), ALONE) is None


@pytest.mark.slow
@pytest.mark.parametrize("validation", ["overfit", "val"])
def test_the_training_file_is_parsed_once(
    validation: str, make_config: MakeConfig, scenes: Path
) -> None:
    config = make_config(**({"overfit": 2} if validation == "overfit" else {"val": str(scenes)}))

    def count_reads() -> int:
        opened: list[str] = []
        sys.addaudithook(
            lambda event, args: opened.append(str(args[0])) if event == "open" else None
        )
        run_training(config)
        return opened.count(str(scenes))

    assert run_in_processes([count_reads]) == [1]  # an audit hook cannot be removed


def test_validation_data_without_people_are_rejected_before_training(
    make_config: MakeConfig, scenes: Path, tmp_path: Path
) -> None:
    content = json.loads(scenes.read_text(encoding="utf-8"))
    for person in content["annotations"]:
        person["iscrowd"] = True
    path = tmp_path / "crowds.json"
    path.write_text(json.dumps(content))
    config = make_config(val=f"{path},{scenes.parent / 'images'}")
    with pytest.raises(
        InputError, match=r"crowds\.json: contains no person with labeled keypoints"
    ):
        run_training(config)
    assert not config.run.out.exists()


@pytest.mark.parametrize("source", ["val", "train"])
def test_a_skeleton_that_cannot_be_evaluated_is_rejected_before_training(
    source: str, make_config: MakeConfig, scenes: Path
) -> None:
    """A network with CrowdPose's keypoints cannot be evaluated on COCO's."""
    values: dict[str, Any] = {"val": str(scenes)} if source == "val" else {"overfit": 2}
    config = make_config(skeleton="crowdpose", **values)
    with pytest.raises(InputError, match=r"annotations\.json: AP cannot be measured.* nose"):
        run_training(config)
    assert not config.run.out.exists()


def test_missing_images_are_reported_before_training(make_config: MakeConfig, scenes: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        run_training(make_config(val=f"{scenes},{scenes.parent / 'missing'}"))


def test_an_unreadable_image_is_skipped_and_reported(
    make_config: MakeConfig, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    shutil.copytree(scenes.parent / "images", images)
    first = load_annotations(scenes).images[0]["file_name"]
    (images / first).write_bytes(b"not an image")
    assert run_training(make_config(val=f"{scenes},{images}", epochs=1))
    assert first in capsys.readouterr().err


def test_metrics_are_those_of_all_predicted_people(untrained_model: Path, scenes: Path) -> None:
    annotations, images = load_annotations(scenes), scenes.parent / "images"
    network, header = checkpoint.load(untrained_model)
    metrics = Validator(annotations, images, ALONE).evaluate(network, header)
    predictor = Predictor.load(untrained_model, engine="torch", threads=1)
    people = [
        person
        for image in annotations.images
        for person in predictor(images / image["file_name"]).to_coco(image["id"])
    ]
    assert people and metrics == evaluate_results(annotations, people)


@pytest.mark.slow
def test_a_dataset_with_fewer_keypoints_can_be_evaluated(
    make_config: MakeConfig, scenes: Path, tmp_path: Path
) -> None:
    """The network has the keypoints of COCO and CrowdPose, the dataset those of CrowdPose."""
    crowd = write_scenes(tmp_path / "crowd", 3, height=64, width=64, skeleton=CROWDPOSE)
    config = make_config(val=str(crowd), epochs=1)
    config = replace(config, data=replace(config.data, train=(str(scenes), str(crowd))))
    assert run_training(config)
    lines = [json.loads(line) for line in (config.run.out / "metrics.jsonl").open()]
    assert "AP_hard" in lines[-1]
    header = checkpoint.load(config.run.out / "last.safetensors")[1]
    assert header.skeleton.names == (*COCO.names, "head", "neck")
    assert header.training["data"] == [str(scenes), str(crowd)]


@pytest.mark.parametrize("count", [1, 3, 99])
def test_previews_have_a_row_for_each_image_and_are_reproducible(
    count: int, untrained_model: Path, scenes: Path
) -> None:
    network, header = checkpoint.load(untrained_model)
    validator = validator_of(DataConfig(val=str(scenes)))
    previews = validator.draw_previews(network, header, count)
    again = validator.draw_previews(network, header, count)
    assert previews is not None and again is not None
    rows = min(count, len(validator.annotations.labeled_images))
    assert previews.shape == (rows * 248, 4 * 240, 3) and previews.dtype == np.uint8
    np.testing.assert_array_equal(previews, again)
    name = validator.annotations.labeled_images[0]["file_name"]
    image = read_image(scenes.parent / "images" / name)
    enlarged = cv2.resize(image, (240, 240), interpolation=cv2.INTER_AREA).astype(int)
    tiles = np.split(previews[4:244], 4, axis=1)
    unchanged = [(np.abs(tile - enlarged).max(2) < 3).mean() for tile in tiles]
    assert 0.1 < unchanged[0] < 0.95 and 0.1 < unchanged[1] < 0.95  # the image with drawn poses
    assert max(unchanged[2:]) < 0.05  # heatmaps and tags


def test_previews_are_rotated_as_annotated(untrained_model: Path, tmp_path: Path) -> None:
    path = write_scenes(tmp_path, 2, height=64, width=96)
    network, header = checkpoint.load(untrained_model)
    expected = validator_of(DataConfig(val=str(path))).draw_previews(network, header, 2)
    store_oriented(tmp_path / "images", 6)
    previews = validator_of(DataConfig(val=str(path))).draw_previews(network, header, 2)
    assert previews is not None and expected is not None
    np.testing.assert_array_equal(previews, expected)


def test_without_preview_images_there_are_no_previews(untrained_model: Path, scenes: Path) -> None:
    network, header = checkpoint.load(untrained_model)
    assert validator_of(DataConfig(val=str(scenes))).draw_previews(network, header, 0) is None
