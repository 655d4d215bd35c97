"""Pre-annotations for Label Studio follow its documented format of tasks with predictions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
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


def _run_programs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str
) -> list[dict[str, Any]]:
    """Runs the programs of the documentation, and returns the annotations that they write."""
    page = Path(__file__).parents[3] / "docs" / "howto" / "labeling-tools.md"
    programs = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    monkeypatch.chdir(folder)
    variables: dict[str, object] = {"json": json, "Path": Path, "NAMES": names}
    for program in programs[1:] if names else programs:
        exec(program, variables)
    content = json.loads((folder / "annotations.json").read_text())
    (image,) = content["images"]
    return [annotation | {"file_name": image["file_name"]} for annotation in content["annotations"]]


def test_corrected_poses_come_back_through_the_program_of_the_documentation(
    predicted: PredictedImages,
    frames: list[tuple[str, int | None, Poses]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An export has the accepted pre-annotations, and one task of which nothing is annotated."""
    write_label_studio(tmp_path, predicted)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    for number, task in enumerate(tasks, 1):
        result = task.pop("predictions")[0]["result"]
        task |= {"id": number, "annotations": [{"was_cancelled": False, "result": result}]}
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    annotations, poses = _run_programs(tmp_path, monkeypatch, *COCO.names), frames[0][2]
    assert len(annotations) == len(poses) == 2
    for person, annotation in enumerate(annotations):
        points, found = np.reshape(annotation["keypoints"], (-1, 3)), poses.found[person]
        assert annotation["file_name"] == "day 1/a.jpg"
        assert annotation["bbox"] == pytest.approx(poses.boxes[person].tolist(), abs=0.01)
        assert (points[:, 2] > 0).tolist() == found.tolist()
        np.testing.assert_allclose(points[found, :2], poses.keypoints[person, found], atol=0.01)


def test_keypoints_without_a_parent_belong_to_the_rectangle_around_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _run_programs(tmp_path, monkeypatch)
    assert first["file_name"] == "basketball1.png"  # without the digits of the upload
    expected = [6.4 * 22, 4.8 * 25, 2, 6.4 * 30, 4.8 * 50, 2, 6.4 * 14, 4.8 * 52, 2]
    assert first["keypoints"] == pytest.approx(expected)
    assert second["keypoints"] == pytest.approx([6.4 * 70, 4.8 * 26, 2, 0, 0, 0, 0, 0, 0])


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
