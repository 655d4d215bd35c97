"""What is wrong with a data set is found; what is not is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from higherhrnet.data.check import Finding, check_dataset
from higherhrnet.io.coco import load_annotations
from higherhrnet.io.image_store import ImageStore
from higherhrnet.synthetic.scenes import write_scenes

Content = dict[str, Any]
Change = Callable[[Content, Path], None]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine scenes with people, and one without."""
    folder = tmp_path_factory.mktemp("scenes")
    path = write_scenes(folder, 10, seed=3, height=64, width=80, people=(2, 3), crowd=0)
    content = json.loads(path.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 10]
    path.write_text(json.dumps(content))
    return path


def findings(scenes: Path, change: Change) -> list[Finding]:
    """After a change to the annotations, and pictures beside those that there are."""
    content, folder = json.loads(scenes.read_text()), scenes.parent / "images"
    change(content, folder)
    path = scenes.with_name("changed.json")
    path.write_text(json.dumps(content))
    return check_dataset(load_annotations(path), ImageStore(folder))


def found(scenes: Path, change: Change) -> list[str]:
    """The one serious finding, as its cases."""
    (serious,) = [finding for finding in findings(scenes, change) if finding.serious]
    return serious.where


def person(content: Content, number: int) -> Content:
    one: Content = content["annotations"][number]
    return one


def test_nothing_is_wrong_with_drawn_scenes(scenes: Path) -> None:
    kinds = [f for f in findings(scenes, lambda *_: None) if "swapped" not in f.what]
    assert [(f.serious, f.where) for f in kinds] == [(False, ["000000000010.png"])]


def test_pictures_that_are_missing_or_damaged(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        (folder / "damaged.png").write_bytes((folder / "000000000001.png").read_bytes()[:300])
        for number, name in enumerate(["away.png", "damaged.png"]):
            content["images"][number]["file_name"] = name
        del content["images"][2]["file_name"]

    cases = found(scenes, change)
    assert len(cases) == 3
    for case, name in zip(cases, ["away.png: ", "damaged.png: ", "no file_name"], strict=True):
        assert name in case


def test_pictures_of_another_size(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        content["images"][4]["width"] = 81

    assert found(scenes, change) == ["000000000005.png is 80×64, not 81×64"]


def test_keypoints_outside(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        person(content, 2)["keypoints"][3:6] = [80.5, 10, 1]
        person(content, 3)["keypoints"][48:51] = [80.5, 10, 0]
        person(content, 4)["keypoints"][48:51] = [7, -1, 2]
        for number in (2, 3, 4):
            values = person(content, number)["keypoints"][2::3]
            person(content, number)["num_keypoints"] = sum(value > 0 for value in values)

    one, two = found(scenes, change)
    assert one.endswith("annotation 3: left_eye at 80.5, 10")
    assert two.endswith("annotation 5: right_ankle at 7, -1")


def test_ids_that_come_twice(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        content["annotations"] += [person(content, 7)] * 2

    assert found(scenes, change) == ["8 (3 times)"]
    assert found(scenes, lambda c, _: c["images"].append(c["images"][9])) == ["10 (2 times)"]


def test_annotations_of_unknown_images(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        person(content, 0)["image_id"] = "elsewhere"

    assert found(scenes, change) == ["annotation 1 of image elsewhere"]


def test_people_that_say_they_have_more_keypoints_than_they_have(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        person(content, 0)["num_keypoints"] = 40

    (case,) = found(scenes, change)
    assert case.startswith("000000000001.png, annotation 1 says 40, not ")


def test_regions_that_make_no_sense(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        silent = {"keypoints": [0] * 51, "num_keypoints": 0, "iscrowd": 1}
        person(content, 0).update(silent, segmentation={"size": [64, 80], "counts": [7]})

    (case,) = found(scenes, change)
    assert case.startswith("000000000001.png, annotation 1: segmentation: ")


def test_left_and_right_are_serious_only_when_many_are_swapped(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        for one in content["annotations"]:
            triples = np.array(one["keypoints"]).reshape(17, 3)
            triples[5:] = triples[[6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]]
            one["keypoints"] = triples.ravel().tolist()

    assert len(found(scenes, change)) > 5


def test_crowded_images_and_masked_people_are_no_fault(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        first = person(content, 0)
        extra = [first | {"id": 100 + number} for number in range(31)]
        silent = first | {"id": 200, "keypoints": [0] * 51, "num_keypoints": 0}
        content["annotations"] += [*extra, silent]

    kinds = {finding.what: finding for finding in findings(scenes, change)}
    masked = kinds["people or crowds without keypoints, so masked"]
    assert masked.where == ["000000000001.png, annotation 200"]
    crowded = kinds["images of more than 30 people"]
    (case,) = crowded.where
    assert case.startswith("000000000001.png has 3")
    assert not masked.serious
    assert not crowded.serious


def test_the_verb(scenes: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "higherhrnet", "check-data", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    flags = ["--samples", 5, "--size", 64, "--augment.paste", 1, "--augment.colour", 1]
    sound = run(scenes, "--out", tmp_path / "out", *flags)
    assert sound.returncode == 0, sound.stderr
    assert "10 images, " in sound.stdout
    assert (tmp_path / "out" / "findings.txt").read_text().count("000000000010.png") == 1
    assert (tmp_path / "out" / "findings.txt").read_text().count("\t") >= 2
    sheet = cv2.imread(str(tmp_path / "out" / "samples.jpg"))
    assert sheet is not None
    assert sheet.std() > 20

    content = json.loads(scenes.read_text())
    content["images"][0]["file_name"] = "away.png"
    broken = scenes.with_name("broken.json")
    broken.write_text(json.dumps(content))
    wrong = run(f"{broken},{scenes.parent / 'images'}", scenes)
    assert wrong.returncode == 3
    assert "wrong: pictures that cannot be read: 1 (" in wrong.stdout
    assert run().returncode == 1
    lost = run(tmp_path / "away.json")
    assert lost.returncode == 1
    assert "away.json: cannot be read" in lost.stderr
