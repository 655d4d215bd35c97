"""check-data finds the problems of a dataset, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from higherhrnet.data.check import check_dataset, check_datasets
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.io.datasets.image_store import ImageStore
from higherhrnet.io.findings import Finding
from higherhrnet.synthetic.scenes import write_scenes
from tests.conftest import RunMain

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


def check(scenes: Path, change: Change) -> list[Finding]:
    """The findings after a change of the annotations and of the folder of images."""
    content, folder = json.loads(scenes.read_text(encoding="utf-8")), scenes.parent / "images"
    change(content, folder)
    path = scenes.with_name("changed.json")
    path.write_text(json.dumps(content))
    return check_dataset(load_annotations(path), ImageStore(folder))


def error_cases(scenes: Path, change: Change) -> list[str]:
    """The cases of the only finding that is an error."""
    (error,) = [finding for finding in check(scenes, change) if finding.is_error]
    return error.cases


def person(content: Content, number: int) -> Content:
    annotation: Content = content["annotations"][number]
    return annotation


def test_summary_is_a_sentence_with_the_first_cases() -> None:
    def summary(cases: list[str], is_error: bool = True) -> str:
        finding = Finding("image cannot be read", "images cannot be read", cases, is_error)
        return finding.summary()

    assert summary(["a.jpg"]) == "error: 1 image cannot be read (a.jpg)"
    assert summary(["a.jpg", "b.jpg"], False) == "note: 2 images cannot be read (a.jpg; b.jpg)"
    files = [f"{name}.jpg" for name in "abcd"]
    assert summary(files) == "error: 4 images cannot be read (a.jpg; b.jpg; c.jpg; and 1 more)"
    rare = Finding("image is small", "images are small", ["a.jpg"], total=1000)
    assert rare.text() == "1 image is small, less than 1 % of 1,000 (a.jpg)"
    many = "1,500 images cannot be read (a.jpg; a.jpg; a.jpg; and 1,497 more)"
    assert summary(["a.jpg"] * 1500).endswith(many)


def test_synthetic_scenes_have_no_errors(scenes: Path) -> None:
    findings = [f for f in check(scenes, lambda *_: None) if "swapped" not in f.plural]
    assert [(f.is_error, f.cases) for f in findings] == [(False, ["000000000010.png"])]


def test_finds_missing_and_damaged_images(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        (folder / "damaged.png").write_bytes((folder / "000000000001.png").read_bytes()[:300])
        for number, name in enumerate(["missing.png", "damaged.png"]):
            content["images"][number]["file_name"] = name
        del content["images"][2]["file_name"]

    cases = error_cases(scenes, change)
    assert len(cases) == 3
    for case, text in zip(cases, ["missing.png: ", "damaged.png: ", "no file_name"], strict=True):
        assert text in case


def test_finds_images_of_another_size(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        content["images"][4]["width"] = 81

    assert error_cases(scenes, change) == ["000000000005.png is 80×64, not 81×64"]


def test_finds_keypoints_outside_the_image(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        person(content, 2)["keypoints"][3:6] = [80.5, 10, 1]
        person(content, 3)["keypoints"][48:51] = [80.5, 10, 0]
        person(content, 4)["keypoints"][48:51] = [7, -1, 2]
        for number in (2, 3, 4):
            values = person(content, number)["keypoints"][2::3]
            person(content, number)["num_keypoints"] = sum(value > 0 for value in values)

    one, two = error_cases(scenes, change)
    assert one.endswith("annotation 3: left_eye at 80.5, 10")
    assert two.endswith("annotation 5: right_ankle at 7, -1")


def test_finds_repeated_ids(scenes: Path) -> None:
    def repeat_annotation(content: Content, folder: Path) -> None:
        content["annotations"] += [person(content, 7)] * 2

    def repeat_image(content: Content, folder: Path) -> None:
        content["images"].append(content["images"][9])

    assert error_cases(scenes, repeat_annotation) == ["8 (3 times)"]
    assert error_cases(scenes, repeat_image) == ["10 (2 times)"]


def test_finds_annotations_of_unknown_images(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        person(content, 0)["image_id"] = "unknown"

    assert error_cases(scenes, change) == ["annotation 1 of image unknown"]


def test_finds_wrong_numbers_of_keypoints(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        person(content, 0)["num_keypoints"] = 40

    labeled = sum(
        v > 0 for v in person(json.loads(scenes.read_text(encoding="utf-8")), 0)["keypoints"][2::3]
    )
    assert error_cases(scenes, change) == [
        f"000000000001.png, annotation 1 has {labeled} keypoints, not 40"
    ]


def test_finds_invalid_segmentations(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        crowd = {"keypoints": [0] * 51, "num_keypoints": 0, "iscrowd": 1}
        person(content, 0).update(crowd, segmentation={"size": [64, 80], "counts": [7]})

    (case,) = error_cases(scenes, change)
    assert case.startswith("000000000001.png, annotation 1: segmentation: ")


def test_swapped_sides_are_an_error_only_if_they_are_frequent(scenes: Path) -> None:
    def swap(content: Content, count: int) -> None:
        for annotation in content["annotations"][:count]:
            keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
            keypoints[5:] = keypoints[[6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]]
            annotation["keypoints"] = keypoints.ravel().tolist()

    assert len(error_cases(scenes, lambda content, _: swap(content, 100))) > 5
    one = [f for f in check(scenes, lambda content, _: swap(content, 1)) if "swapped" in f.plural]
    assert [(f.is_error, len(f.cases)) for f in one] == [(False, 1)]


def test_crowded_images_and_masked_people_are_notes(scenes: Path) -> None:
    def change(content: Content, folder: Path) -> None:
        first = person(content, 0)
        extra = [first | {"id": 100 + number} for number in range(31)]
        unlabeled = first | {"id": 200, "keypoints": [0] * 51, "num_keypoints": 0}
        content["annotations"] += [*extra, unlabeled]

    findings = {finding.plural: finding for finding in check(scenes, change)}
    masked = findings["people or crowds have no keypoints and are masked in training"]
    assert masked.cases == ["000000000001.png, annotation 200"]
    crowded = findings["images have more than 30 people"]
    (case,) = crowded.cases
    assert case.startswith("000000000001.png has 3")
    assert not masked.is_error
    assert not crowded.is_error


def test_command_reports_findings_and_draws_samples(
    scenes: Path, tmp_path: Path, run_main: RunMain
) -> None:
    pytest.importorskip("torch")
    run = partial(run_main, "check-data")
    flags = ["--samples", 5, "--size", 64, "--augment.paste", 1, "--augment.color", 1]
    valid = run(scenes, "--out", tmp_path / "out", *flags)
    assert valid.returncode == 0, valid.stderr
    assert "10 images, " in valid.stdout
    findings = (tmp_path / "out" / "findings.txt").read_text()
    assert findings.count("000000000010.png") == 1
    assert all(line.count("\t") == 2 for line in findings.splitlines())
    sheet = cv2.imread(str(tmp_path / "out" / "samples.jpg"))
    assert sheet is not None
    assert sheet.std() > 20

    content = json.loads(scenes.read_text(encoding="utf-8"))
    content["images"][0]["file_name"] = "missing.png"
    changed = scenes.with_name("missing_image.json")
    changed.write_text(json.dumps(content))
    invalid = run(f"{changed},{scenes.parent / 'images'}", scenes)
    assert invalid.returncode == 3
    assert "error: 1 image cannot be read (" in invalid.stdout
    content["images"] = content["images"][:1]
    content["annotations"] = content["annotations"][:1]
    changed.write_text(json.dumps(content))
    unreadable = run(f"{changed},{scenes.parent / 'images'}", "--out", tmp_path / "none")
    assert unreadable.returncode == 3
    assert "samples.jpg: not written: no samples can be drawn" in unreadable.stdout
    assert not (tmp_path / "none" / "samples.jpg").exists()
    assert run().returncode == 1
    missing = run(tmp_path / "missing.json")
    assert missing.returncode == 1
    assert "missing.json: cannot be read" in missing.stderr


@pytest.mark.parametrize(
    ("rename", "pairs", "unpaired"),
    [
        (lambda name: name.replace("left_", "L_").replace("right_", "R_"), "L_eye–R_eye, ", None),
        (lambda name: name.replace("left_", "l_").replace("right_", "other_"), "none", 8),
    ],
)
def test_pairs_are_listed_and_sides_without_partner_reported(
    rename: Callable[[str], str],
    pairs: str,
    unpaired: int | None,
    scenes: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = json.loads(scenes.read_text(encoding="utf-8"))
    category = content["categories"][0]
    category["keypoints"] = [rename(name) for name in category["keypoints"]]
    path = scenes.with_name("renamed.json")
    path.write_text(json.dumps(content))
    check_datasets([str(path)])
    output = capsys.readouterr().out
    assert f"  flip pairs: {pairs}" in output
    note = f"note: {unpaired} keypoints have a side in their names, but no partners"
    assert (note in output) == bool(unpaired)
