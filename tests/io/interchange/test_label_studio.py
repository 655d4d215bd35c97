"""Pre-annotations for Label Studio follow its documented format of tasks with predictions."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from higherhrnet import COCO, InputError, Poses
from higherhrnet.io.interchange.label_studio import write_label_studio
from higherhrnet.io.interchange.predicted_images import PredictedImages
from tests.io.interchange.conftest import HEIGHT, WIDTH, random_poses, write_predictions


def test_regions_are_the_boxes_and_keypoints_in_percent_of_the_image(
    frames: list[tuple[str, int | None, Poses]], predicted: PredictedImages, tmp_path: Path
) -> None:
    notes = write_label_studio(tmp_path, predicted)
    assert notes == ["label-studio: videos cannot have keypoints, frames omitted: 3"]
    task, empty = json.loads((tmp_path / "tasks.json").read_text())
    assert task["data"] == {"image": "/data/local-files/?d=day%201/a.jpg"}
    assert empty["predictions"][0]["result"] == []
    regions = task["predictions"][0]["result"]
    assert len({region["id"] for region in regions}) == len(regions)
    boxes = [region for region in regions if region["type"] == "rectanglelabels"]
    poses = frames[0][2]
    assert len(boxes) == len(poses) == 2
    for person, box in enumerate(boxes):
        value = box["value"]
        edges = [value["x"], value["y"], value["width"], value["height"]]
        scale = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]) / 100
        assert edges * scale == pytest.approx(poses.boxes[person], abs=0.01)
        own = [region for region in regions if region.get("parentID") == box["id"]]
        found = {region["value"]["keypointlabels"][0]: region["value"] for region in own}
        assert len(found) == len(own) == poses.found[person].sum()
        for k, name in enumerate(COCO.names):
            assert (name in found) == poses.found[person, k]
            if name in found:
                point = found[name]["x"] * WIDTH / 100, found[name]["y"] * HEIGHT / 100
                assert point == pytest.approx(poses.keypoints[person, k], abs=0.01)
    for region in regions:
        assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)
        assert 0 < region["score"] <= 1


def test_regions_refer_to_the_tags_of_the_labeling_interface(
    predicted: PredictedImages, tmp_path: Path
) -> None:
    write_label_studio(tmp_path, predicted)
    view = ElementTree.parse(tmp_path / "labeling.xml").getroot()
    image = view.find("Image")
    assert image is not None and image.get("value") == "$image"
    labels = {
        (tag.get("name"), tag.get("toName")): [label.get("value") for label in tag]
        for tag in (*view.iter("RectangleLabels"), *view.iter("KeyPointLabels"))
    }
    assert labels["keypoints", "image"] == list(COCO.names)
    indices = [label.get("model_index") for label in view.iterfind("KeyPointLabels/Label")]
    assert indices == [str(index) for index in range(17)]  # for the export as COCO
    task = json.loads((tmp_path / "tasks.json").read_text())[0]
    for region in task["predictions"][0]["result"]:
        (label,) = region["value"][region["type"]]
        assert label in labels[region["from_name"], region["to_name"]]


def test_only_omitted_frames_are_noted(tmp_path: Path) -> None:
    images = write_predictions(tmp_path / "poses", [("a.jpg", None, random_poses(1, 2))])
    assert write_label_studio(tmp_path, images) == []
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    assert task["data"] == {"image": "/data/local-files/?d=a.jpg"}


def test_a_folder_without_predictions_gives_no_tasks(tmp_path: Path) -> None:
    assert write_label_studio(tmp_path, PredictedImages(tmp_path / "poses", COCO)) == []
    assert json.loads((tmp_path / "tasks.json").read_text()) == []


def test_predictions_without_the_sizes_of_images_are_rejected(tmp_path: Path) -> None:
    """Earlier versions did not record them."""
    images = write_predictions(tmp_path / "poses", [("a.jpg", None, random_poses(1, 2))])
    file = tmp_path / "poses" / "predictions.jsonl"
    entry = json.loads(file.read_text())
    del entry["width"]
    file.write_text(json.dumps(entry) + "\n")
    with pytest.raises(InputError, match=r"earlier version of higherhrnet.* predict again"):
        write_label_studio(tmp_path, images)
