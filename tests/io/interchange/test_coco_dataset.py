"""The COCO dataset of predictions, as pycocotools and this package read it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO as CocoFile

from higherhrnet import COCO, Poses
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.io.interchange.coco_dataset import write_coco_dataset
from higherhrnet.io.interchange.predicted_images import PredictedImages
from tests.conftest import RunMain
from tests.io.interchange.conftest import HEIGHT, WIDTH, write_predictions

NAMES = ["day 1/a.jpg", "000000000139.jpg", *(f"clip/frame_00000{i}.png" for i in range(3))]


def test_pycocotools_reads_the_people_of_each_image(
    frames: list[tuple[str, int | None, Poses]], predicted: PredictedImages, tmp_path: Path
) -> None:
    write_coco_dataset(tmp_path, predicted)
    file = CocoFile(tmp_path / "annotations.json")
    images = file.loadImgs(file.getImgIds())
    assert [image["file_name"] for image in images] == NAMES
    assert all((image["width"], image["height"]) == (WIDTH, HEIGHT) for image in images)
    (category,) = file.loadCats(file.getCatIds(catNms=["person"]))
    assert category["keypoints"] == list(COCO.names)
    for image, (_, _, poses) in zip(images, frames, strict=True):
        people = file.loadAnns(file.getAnnIds(imgIds=image["id"], iscrowd=False))
        assert len(people) == len(poses)
        for index, person in enumerate(people):
            triples = np.reshape(person["keypoints"], (-1, 3))
            assert triples[:, :2] == pytest.approx(poses.keypoints[index], abs=1e-3)
            assert (triples[:, 2] == np.where(poses.found[index], 2, 0)).all()
            assert {type(value) for value in person["keypoints"][2::3]} == {int}
            assert person["num_keypoints"] == poses.found[index].sum()
            assert person["bbox"] == pytest.approx(poses.boxes[index], abs=0.01)
            assert person["area"] == pytest.approx(np.prod(poses.boxes[index][2:]), abs=0.1)
    ids = [annotation["id"] for annotation in file.dataset["annotations"]]
    assert ids == [1, 2, 3, 4, 5]
    assert [a["track_id"] for a in file.dataset["annotations"][2:]] == [7, 2, 7]


def test_the_dataset_is_read_as_annotations_with_the_same_skeleton(
    predicted: PredictedImages, tmp_path: Path
) -> None:
    write_coco_dataset(tmp_path, predicted)
    truth = load_annotations(tmp_path / "annotations.json")
    assert truth.skeleton == COCO and truth.file_names == NAMES and truth.num_people == 5


def test_results_agree_with_the_dataset_that_was_made_of_them(
    frames: list[tuple[str, int | None, Poses]], tmp_path: Path, run_main: RunMain
) -> None:
    images = write_predictions(tmp_path / "poses", frames[:2])
    write_coco_dataset(tmp_path, images)
    files = "--annotations", tmp_path / "annotations.json", "--json", tmp_path / "metrics.json"
    result = run_main("evaluate", *files, "--predictions", images.folder / "predictions.json")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["AP"] == pytest.approx(1)
