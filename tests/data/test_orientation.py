"""Annotations are paired with the pixels that they were made on: stored or rotated by EXIF.

The same scenes are stored in eight ways, one for each EXIF orientation, so that they are displayed
as before, and annotated as they are displayed or as they are stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image as Pillow

from higherhrnet import Predictor
from higherhrnet.cli.main import main
from higherhrnet.config.data import DataConfig
from higherhrnet.data.dataset import load_dataset
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.synthetic.scenes import write_scenes
from tests.conftest import ModelFiles
from tests.oriented import OPPOSITE, store_oriented

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        """The exit code, the output and the errors of a command."""
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, *capsys.readouterr()

    return run


def scenes(folder: Path, width: int = 96, height: int = 64, count: int = 4) -> Path:
    return write_scenes(folder, count, seed=3, height=height, width=width, people=(2, 3), crowd=0)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("archive", [False, True])
def test_training_uses_the_pixels_of_the_annotations(
    tmp_path: Path, orientation: int, archive: bool
) -> None:
    path = scenes(tmp_path)
    original = [item.image for item in load_dataset(DataConfig((str(path),)))]
    store_oriented(tmp_path / "images", orientation)
    dataset = str(path)
    if archive:
        with ZipFile(tmp_path / "packed.zip", "w") as file:
            for stored in (tmp_path / "images").iterdir():
                file.write(stored, stored.name)
        dataset = f"{path},{tmp_path / 'packed.zip'}"
    for item, image in zip(load_dataset(DataConfig((dataset,)), True), original, strict=True):
        np.testing.assert_array_equal(item.image, image)
        assert len(item.outlines) == len(item.keypoints)


def test_stored_pixels_are_used_where_the_annotated_size_is_theirs(tmp_path: Path) -> None:
    path = scenes(tmp_path)
    store_oriented(tmp_path / "images", 6)
    content = json.loads(path.read_text())
    content["annotations"] = [
        {"image_id": image["id"], "category_id": 1, "keypoints": [5, 5, 2] * 17}
        for image in content["images"]
    ]
    for image in content["images"]:
        image["width"], image["height"] = 64, 96
    del content["images"][1]["width"]
    path.write_text(json.dumps(content))
    for item in load_dataset(DataConfig((str(path),))):
        with Pillow.open(tmp_path / "images" / item.name) as stored:
            np.testing.assert_array_equal(item.image, np.asarray(stored.convert("RGB")))


def test_a_model_is_evaluated_on_the_pixels_of_the_annotations(
    tmp_path: Path, small_model: ModelFiles, run: Run
) -> None:
    path = scenes(tmp_path)
    annotations, images = load_annotations(path), tmp_path / "images"
    predictor = Predictor.load(small_model.onnx, engine="onnxruntime")
    expected, _ = predict_dataset(predictor, annotations, images)
    store_oriented(images, 8)
    results, failed = predict_dataset(predictor, annotations, images)
    assert failed == [] and len(results) == len(expected) > 0
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_allclose(one["keypoints"], other["keypoints"], atol=1e-2)


def test_images_of_another_size_are_not_evaluated(
    tmp_path: Path, small_model: ModelFiles, run: Run
) -> None:
    path = scenes(tmp_path)
    (resized,) = list((tmp_path / "images").glob("*2.png"))
    Pillow.open(resized).resize((48, 32)).save(resized)
    arguments = ("--annotations", path, "--model", small_model.onnx, "--engine", "onnxruntime")
    code, out, err = run("evaluate", *arguments)
    assert code == 3
    assert "1 image could not be read" in out
    assert "2.png: has 48×32 pixels, but is annotated as 96×64" in err


def test_check_data_counts_images_with_an_orientation(tmp_path: Path, run: Run) -> None:
    path = scenes(tmp_path, count=6)
    content = json.loads(path.read_text())
    names = [image["file_name"] for image in content["images"]]
    for name in names[:4]:
        exif = Pillow.Exif()
        exif[0x0112] = 3 if name == names[3] else 6
        image: Pillow.Image = Pillow.open(tmp_path / "images" / name)
        if name != names[2]:
            image = image.transpose(OPPOSITE[exif[0x0112]])
        image.save(tmp_path / "images" / name, exif=exif)
    exif = Pillow.Exif()
    exif[0x0112] = 1
    Pillow.open(tmp_path / "images" / names[4]).save(tmp_path / "images" / names[4], exif=exif)
    code, out, _ = run("check-data", path)
    assert code == 0, out
    prefix = "images have an EXIF orientation and are"
    assert f"note: 2 {prefix} rotated, as the annotated size requires ({names[0]}; {names[1]})" in (
        out
    )
    prefix = "note: 1 image has an EXIF orientation and is not rotated, "
    assert f"{prefix}as the annotated size requires ({names[2]})" in out
    assert f"{prefix}although the size does not show" in out
    assert names[4] not in out


def results_of(path: Path, turn: bool) -> list[dict[str, Any]]:
    """Perfect results, on the annotated image or on that image turned clockwise."""
    content = json.loads(path.read_text(encoding="utf-8"))
    heights = {image["id"]: image["height"] for image in content["images"]}
    results = []
    for person in content["annotations"]:
        points = np.array(person["keypoints"], float).reshape(17, 3)
        if turn:
            x, y = points[:, 0].copy(), points[:, 1].copy()
            points[:, 0], points[:, 1] = heights[person["image_id"]] - 1 - y, x
        keys = {key: person[key] for key in ("image_id", "category_id")}
        results.append({**keys, "keypoints": points.ravel().tolist(), "score": 1.0})
    return results


@pytest.mark.parametrize(
    ("oriented", "turn", "message"),
    [
        (True, True, r"results of at least \d images, .* refer to the image rotated by its EXIF"),
        (True, False, None),
        (False, True, None),
    ],
)
def test_results_on_rotated_images_are_rejected(
    tmp_path: Path, run: Run, oriented: bool, turn: bool, message: str | None
) -> None:
    path = scenes(tmp_path)
    if oriented:
        for file in (tmp_path / "images").glob("*.png"):
            exif = Pillow.Exif()
            exif[0x0112] = 6
            Pillow.open(file).save(file, exif=exif)
    predictions = tmp_path / "predictions.json"
    predictions.write_text(json.dumps(results_of(path, turn)))
    code, out, err = run("evaluate", "--annotations", path, "--predictions", predictions)
    assert code == (1 if message else 0)
    if message:
        assert re.search(message, err) and err.count("\n") == 1
    else:
        assert (" 1.000" in out) == (not turn)


def test_worst_images_are_rotated_as_annotated(tmp_path: Path, run: Run) -> None:
    path = scenes(tmp_path, count=2)
    store_oriented(tmp_path / "images", 6)
    predictions = tmp_path / "predictions.json"
    results = results_of(path, turn=False)
    predictions.write_text(json.dumps([result | {"score": 0.5} for result in results[:1]]))
    arguments = ("--annotations", path, "--images", tmp_path / "images", "--report", tmp_path)
    code, _, err = run("evaluate", *arguments, "--predictions", predictions)
    assert code == 0, err
    for drawing in (tmp_path / "worst").iterdir():
        assert Pillow.open(drawing).size == (800, 533)  # as 96×64
    assert list((tmp_path / "worst").iterdir())
