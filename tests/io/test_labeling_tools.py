"""The folders that CVAT and Roboflow export are read without further arguments."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.io.datasets.image_folder import find_images

NAMES = ["head", "left_hand", "right_hand"]
POINTS = [20.5, 10, 2, 30, 40, 1, 0, 0, 0]


def write_export(
    file: Path, image: Path, categories: list[dict[str, Any]], **person: object
) -> None:
    for folder in (file.parent, image.parent):
        folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.zeros((48, 64, 3), np.uint8))
    entry = {"id": 1, "image_id": 1, "keypoints": POINTS, "num_keypoints": 2, "iscrowd": 0}
    content = {
        "info": {"contributor": "", "description": ""},
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "categories": categories,
        "images": [{"id": 1, "width": 64, "height": 48, "file_name": image.name}],
        "annotations": [entry | {"bbox": [20, 10, 10, 30], "area": 300.0} | person],
    }
    file.write_text(json.dumps(content), encoding="utf-8")


def test_export_of_cvat(tmp_path: Path) -> None:
    file = tmp_path / "annotations" / "person_keypoints_default.json"
    image = tmp_path / "images" / "default" / "frame_000000.png"
    skeleton = {"id": 1, "name": "person", "supercategory": "", "keypoints": NAMES}
    # CVAT writes the occlusion of a skeleton and track IDs as attributes
    attributes = {"occluded": False, "track_id": 0, "keyframe": True}
    write_export(file, image, [skeleton], category_id=1, segmentation=[], attributes=attributes)
    annotations = load_annotations(file)
    assert annotations.skeleton.names == tuple(NAMES)
    assert annotations.people[0]["keypoints"] == POINTS
    assert find_images(file, annotations.file_names) == image.parent


@pytest.mark.parametrize("split", ["train", "valid"])
def test_export_of_roboflow(tmp_path: Path, split: str) -> None:
    file = tmp_path / split / "_annotations.coco.json"
    image = tmp_path / split / "street_png.rf.0123abcd.jpg"
    group = {"id": 0, "name": "street-keypoints", "supercategory": "none"}
    person = {"id": 1, "name": "person", "supercategory": "street-keypoints", "keypoints": NAMES}
    person["skeleton"] = [[1, 2], [1, 3]]
    write_export(file, image, [group, person], category_id=1)
    annotations = load_annotations(file)
    assert annotations.skeleton.limbs == (("head", "left_hand"), ("head", "right_hand"))
    assert annotations.num_people == 1
    assert find_images(file, annotations.file_names) == image.parent
