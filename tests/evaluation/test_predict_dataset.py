"""A data set's photographs → results: unturned, from folders and archives, resumed, never lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image as PIL

from higherhrnet import Predictor
from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.io.coco import Annotations, load_annotations
from higherhrnet.skeleton import COCO
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import Model

Results = list[dict[str, Any]]
DataSet = Callable[..., tuple[Annotations, Path]]


@pytest.fixture
def predictor(lively: Model) -> Predictor:
    return Predictor.load(lively.onnx, engine="onnxruntime")


@pytest.fixture
def data_set(tmp_path: Path) -> DataSet:
    """Scenes with ids that their names do not tell; the annotations, and the pictures' folder."""

    def data_set(count: int = 6, **changes: Any) -> tuple[Annotations, Path]:  # noqa: ANN401
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
        path = tmp_path / "truth.json"
        path.write_text(json.dumps(content | changes))
        return load_annotations(path), folder

    return data_set


def by_image(results: Results) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {}
    for result in results:
        found.setdefault(result["file_name"], []).append(result["keypoints"])
    return found


def test_results_are_those_of_single_photographs(predictor: Predictor, data_set: DataSet) -> None:
    truth, folder = data_set()
    results, failed = predict_dataset(predictor, truth, folder)
    assert failed == []
    for image in truth.images:
        poses = predictor(folder / image["file_name"])
        here = [r for r in results if r["image_id"] == image["id"]]
        assert [r["keypoints"] for r in here] == [
            r["keypoints"] for r in poses.to_coco(image["id"])
        ]
    assert results


def test_an_archive_gives_what_its_folder_gives(
    predictor: Predictor, data_set: DataSet, tmp_path: Path
) -> None:
    truth, folder = data_set()
    with ZipFile(tmp_path / "images.zip", "w") as archive:
        for image in truth.images:
            archive.write(folder / image["file_name"], image["file_name"])
    packed, failed = predict_dataset(predictor, truth, tmp_path / "images.zip")
    assert failed == []
    assert packed == predict_dataset(predictor, truth, folder)[0]


def test_photographs_are_read_as_they_lie_in_the_file(
    predictor: Predictor, data_set: DataSet
) -> None:
    truth, folder = data_set(1)
    upright = draw_scene(3, height=64, width=96).image
    exif = PIL.Exif()
    exif[0x0112] = 6
    PIL.fromarray(upright).save(folder / truth.images[0]["file_name"], exif=exif)
    results, _ = predict_dataset(predictor, truth, folder)
    expected = predictor(upright).to_coco("scene-0")
    assert len(results) == len(expected) > 0
    given, wanted = ([person["score"] for person in found] for found in (results, expected))
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_what_is_written_down_scores_the_same(
    predictor: Predictor, data_set: DataSet, tmp_path: Path
) -> None:
    truth, folder = data_set()
    expected, _ = predict_dataset(predictor, truth, folder)
    results, _ = predict_dataset(predictor, truth, folder, tmp_path / "out")
    assert by_image(results) == by_image(expected)
    assert evaluate_results(truth, results) == evaluate_results(truth, expected)
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == results


def test_a_run_goes_on_where_it_was_cut_off(
    predictor: Predictor, data_set: DataSet, tmp_path: Path
) -> None:
    truth, folder = data_set()
    whole, _ = predict_dataset(predictor, truth, folder, tmp_path / "out")
    log = tmp_path / "out" / "predictions.jsonl"
    first, second, half, *_ = log.read_text().splitlines(keepends=True)
    log.write_text(first + second + half[: len(half) // 2])
    for image in truth.images[:2]:
        (folder / image["file_name"]).unlink()  # they are not looked at again
    results, failed = predict_dataset(predictor, truth, folder, tmp_path / "out", resume=True)
    assert (results, failed) == (whole, [])


def test_without_resume_a_run_begins_anew(
    predictor: Predictor, data_set: DataSet, tmp_path: Path
) -> None:
    truth, folder = data_set()
    whole, _ = predict_dataset(predictor, truth, folder, tmp_path / "out")
    again, _ = predict_dataset(predictor, truth, folder, tmp_path / "out")
    assert again == whole
    assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize("written", [False, True])
def test_a_broken_photograph_is_left_out_and_its_people_are_missed(
    written: bool,
    predictor: Predictor,
    data_set: DataSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    truth, folder = data_set()
    expected, _ = predict_dataset(predictor, truth, folder)
    (folder / "000000000002.png").write_bytes(b"no picture")
    (folder / "deep" / "000000000003.png").unlink()
    out = tmp_path / "out" if written else None
    results, failed = predict_dataset(predictor, truth, folder, out)
    assert ["000000000002.png" in failed[0], "000000000003.png" in failed[1]] == [True, True]
    assert capsys.readouterr().err.count("skipped: ") == 2
    broken = {"000000000002.png", "deep/000000000003.png"}
    assert by_image(results) == by_image([r for r in expected if r["file_name"] not in broken])
    left_out = [r for r in expected if r["file_name"] not in broken]
    assert evaluate_results(truth, results) == evaluate_results(truth, left_out)


def test_the_wrong_folder_is_noticed_early(
    predictor: Predictor,
    data_set: DataSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    truth, _ = data_set(30)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match="elsewhere: the first 20 photographs cannot be read"):
        predict_dataset(predictor, truth, tmp_path / "elsewhere")
    assert len(capsys.readouterr().err.splitlines()) <= 40
    with pytest.raises(InputError, match="no such folder"):
        predict_dataset(predictor, truth, tmp_path / "nowhere")


def test_annotations_that_do_not_fit_are_refused_before_the_work(
    predictor: Predictor, data_set: DataSet
) -> None:
    category = {"id": 1, "name": "person", "keypoints": ["head", "tail"]}
    truth, folder = data_set(1, categories=[category], annotations=[])
    with pytest.raises(InputError, match="not the model's, which finds no head, tail"):
        predict_dataset(predictor, truth, folder)
    truth, folder = data_set(1, images=[{"id": 1}], annotations=[])
    with pytest.raises(InputError, match="not every image has a file_name"):
        predict_dataset(predictor, truth, folder)
    images = [{"id": number, "file_name": "a.png"} for number in (1, 2)]
    truth, folder = data_set(1, images=images, annotations=[])
    with pytest.raises(InputError, match=r"several images have the file_name a\.png"):
        predict_dataset(predictor, truth, folder)
