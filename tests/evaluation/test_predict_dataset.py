"""Predictions for a dataset from folders and archives; written, resumed and with broken images."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image as PIL

from higherhrnet import Predictor
from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.model import InputConfig
from higherhrnet.engines.base import Engine
from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.io.datasets.coco import Annotations, load_annotations
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import ModelFiles

Results = list[dict[str, Any]]
Dataset = Callable[..., tuple[Annotations, Path]]


@pytest.fixture
def predictor(small_model: ModelFiles) -> Predictor:
    return Predictor.load(small_model.onnx, engine="onnxruntime")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Annotations and the image folder of scenes whose IDs differ from their file names."""

    def dataset(count: int = 6, **changes: Any) -> tuple[Annotations, Path]:  # noqa: ANN401
        folder = tmp_path / "images"
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"images": [], "annotations": []}
        for seed in range(count):
            scene = draw_scene(seed, height=64, width=64)
            name = f"deep/{seed:012}.png" if seed % 2 else f"{seed:012}.png"
            PIL.fromarray(scene.image).save(folder / name)
            content["images"].append({"id": f"scene-{seed}", "file_name": name})
            people = scene.annotations(0, len(content["annotations"]) + 1)
            content["annotations"] += [p | {"image_id": f"scene-{seed}"} for p in people]
        content["categories"] = [COCO.to_category() | {"name": "person"}]
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(content | changes))
        return load_annotations(path), folder

    return dataset


def by_image(results: Results) -> dict[str, list[list[float]]]:
    keypoints: dict[str, list[list[float]]] = {}
    for result in results:
        keypoints.setdefault(result["file_name"], []).append(result["keypoints"])
    return keypoints


def assert_close(results: Results, expected: Results) -> None:
    """Compares keypoints and scores to rounding, which depends on the alignment of memory."""
    actual, wanted = by_image(results), by_image(expected)
    assert actual.keys() == wanted.keys()
    for name, keypoints in wanted.items():
        np.testing.assert_allclose(actual[name], keypoints, rtol=1e-5, atol=2e-3, err_msg=name)
    scores, expected_scores = ([r["score"] for r in some] for some in (results, expected))
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-5)


def test_results_equal_those_of_single_images(predictor: Predictor, dataset: Dataset) -> None:
    annotations, folder = dataset()
    results, failed = predict_dataset(predictor, annotations, folder)
    assert failed == []
    for image in annotations.images:
        poses = predictor(folder / image["file_name"])
        of_image = [r for r in results if r["image_id"] == image["id"]]
        assert_close(of_image, poses.to_coco(image["id"], file_name=image["file_name"]))
    assert results


def test_archive_and_folder_give_equal_results(
    predictor: Predictor, dataset: Dataset, tmp_path: Path
) -> None:
    annotations, folder = dataset()
    with ZipFile(tmp_path / "images.zip", "w") as archive:
        for image in annotations.images:
            archive.write(folder / image["file_name"], image["file_name"])
    packed, failed = predict_dataset(predictor, annotations, tmp_path / "images.zip")
    assert failed == []
    assert_close(packed, predict_dataset(predictor, annotations, folder)[0])


def test_exif_orientation_is_ignored(predictor: Predictor, dataset: Dataset) -> None:
    annotations, folder = dataset(1)
    upright = draw_scene(3, height=64, width=96).image
    exif = PIL.Exif()
    exif[0x0112] = 6
    PIL.fromarray(upright).save(folder / annotations.images[0]["file_name"], exif=exif)
    results, _ = predict_dataset(predictor, annotations, folder)
    expected = predictor(upright).to_coco("scene-0", file_name=annotations.images[0]["file_name"])
    assert len(results) == len(expected) > 0
    assert_close(results, expected)


def test_written_results_equal_returned_results(
    predictor: Predictor, dataset: Dataset, tmp_path: Path
) -> None:
    annotations, folder = dataset()
    expected, _ = predict_dataset(predictor, annotations, folder)
    results, _ = predict_dataset(predictor, annotations, folder, tmp_path / "out")
    assert_close(results, expected)
    metrics = evaluate_results(annotations, expected)
    assert evaluate_results(annotations, results) == pytest.approx(metrics, abs=1e-3)
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == results


def test_interrupted_run_is_resumed(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    annotations, folder = dataset()
    complete, _ = predict_dataset(predictor, annotations, folder, tmp_path / "out")
    log = tmp_path / "out" / "predictions.jsonl"
    first, second, third, *_ = log.read_text().splitlines(keepends=True)
    log.write_text(first + second + third[: len(third) // 2])
    for image in annotations.images[:2]:
        (folder / image["file_name"]).unlink()  # not read again
    results, failed = predict_dataset(predictor, annotations, folder, tmp_path / "out", resume=True)
    assert failed == []
    kept = [result for line in (first, second) for result in json.loads(line)["people"]]
    assert results[: len(kept)] == kept
    assert_close(results, complete)


def test_a_run_on_other_images_of_the_same_names_is_not_resumed(
    predictor: Predictor, dataset: Dataset, tmp_path: Path
) -> None:
    annotations, folder = dataset()
    predict_dataset(predictor, annotations, folder, tmp_path / "out")
    before = (tmp_path / "out" / "predictions.jsonl").read_bytes()
    other = copytree(folder, tmp_path / "other")
    with pytest.raises(InputError, match=r"those of another file .*, not of .*other"):
        predict_dataset(predictor, annotations, other, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "predictions.jsonl").read_bytes() == before


def test_run_without_resume_starts_from_the_beginning(
    predictor: Predictor, dataset: Dataset, tmp_path: Path
) -> None:
    annotations, folder = dataset()
    complete, _ = predict_dataset(predictor, annotations, folder, tmp_path / "out")
    again, _ = predict_dataset(predictor, annotations, folder, tmp_path / "out")
    assert_close(again, complete)
    assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize("written", [False, True])
def test_broken_image_is_skipped(
    written: bool,
    predictor: Predictor,
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    annotations, folder = dataset()
    expected, _ = predict_dataset(predictor, annotations, folder)
    (folder / "000000000002.png").write_bytes(b"not an image")
    (folder / "deep" / "000000000003.png").unlink()
    out = tmp_path / "out" if written else None
    results, failed = predict_dataset(predictor, annotations, folder, out)
    assert ["000000000002.png" in failed[0], "000000000003.png" in failed[1]] == [True, True]
    assert capsys.readouterr().err.count("skipped: ") == 2
    broken = {"000000000002.png", "deep/000000000003.png"}
    assert_close(results, [r for r in expected if r["file_name"] not in broken])


def test_run_ends_if_none_of_the_first_images_can_be_read(
    predictor: Predictor,
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    annotations, _ = dataset(30)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match="elsewhere: the first 20 images cannot be read"):
        predict_dataset(predictor, annotations, tmp_path / "elsewhere")
    assert len(capsys.readouterr().err.splitlines()) <= 40
    with pytest.raises(InputError, match="no such folder"):
        predict_dataset(predictor, annotations, tmp_path / "nowhere")


def test_invalid_annotations_are_rejected(predictor: Predictor, dataset: Dataset) -> None:
    category = {"id": 1, "name": "person", "keypoints": ["head", "tail"]}
    annotations, folder = dataset(1, categories=[category], annotations=[])
    with pytest.raises(InputError, match="that the model does not predict: head, tail"):
        predict_dataset(predictor, annotations, folder)
    annotations, folder = dataset(1, images=[{"id": 1}], annotations=[])
    with pytest.raises(InputError, match="images without file_name"):
        predict_dataset(predictor, annotations, folder)
    images = [{"id": number, "file_name": "a.png"} for number in (1, 2)]
    annotations, folder = dataset(1, images=images, annotations=[])
    with pytest.raises(InputError, match=r"2 images have the same file_name, a\.png"):
        predict_dataset(predictor, annotations, folder)


def test_an_image_on_which_the_engine_fails_ends_the_evaluation(dataset: Dataset) -> None:
    class FailingEngine(Engine):
        description, streams = "fails", 1

        def __call__(self, images: FloatArray) -> list[FloatArray]:
            raise InputError("out of memory")

    annotations, folder = dataset(3)
    predictor = Predictor(FailingEngine(), Header(input=InputConfig(64)))
    with pytest.raises(InputError, match=r"000000000000\.png: out of memory"):
        predict_dataset(predictor, annotations, folder, progress=False)
