"""A resumed run continues the predictions in its folder if they were made with its settings."""

from __future__ import annotations

import json
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higherhrnet import InputError, Poses, Predictor
from higherhrnet.inference.run import PredictSettings, Summary, run_predict
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.images import write_image
from higherhrnet.io.listing import list_sources
from higherhrnet.io.predictions import PredictionWriter, source_path
from higherhrnet.io.sources import Frame, Source
from higherhrnet.poses.skeletons import COCO
from higherhrnet.tracking.tracker import TrackConfig
from tests.conftest import ModelFiles
from tests.io.videos import write_video

TRACKING, OTHER_TRACKING = TrackConfig(), TrackConfig(min_hits=2)


def predict(model: ModelFiles, out: Path, *paths: Path, **settings: Any) -> Summary:  # noqa: ANN401
    predictor = Predictor.load(model.onnx, engine="onnxruntime", threads=1)
    sources = list_sources([str(path) for path in paths], StringIO())
    return run_predict(predictor, sources, PredictSettings(out, draw=False, **settings))


@pytest.mark.parametrize(
    ("first", "second", "changed"),
    [
        ({"every": 3}, {"every": 5}, "every"),
        ({"every": 3}, {"every": 3, "track": TRACKING}, "tracking"),
        ({"track": TRACKING}, {}, "tracking"),
        ({"track": TRACKING}, {"track": OTHER_TRACKING}, "tracking"),
    ],
)
def test_resuming_with_another_stride_or_tracking_is_rejected(
    first: dict[str, Any],
    second: dict[str, Any],
    changed: str,
    small_model: ModelFiles,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    videos = [write_video(tmp_path / name) for name in ("a.avi", "b.avi")]
    predict(small_model, out, videos[0], **first)
    before = (out / "predictions.jsonl").read_text()
    with pytest.raises(InputError, match=rf"out: --resume .* other settings \({changed}\)"):
        predict(small_model, out, *videos, resume=True, **second)
    assert (out / "predictions.jsonl").read_text() == before


def test_resuming_with_the_same_settings_predicts_only_what_is_missing(
    small_model: ModelFiles, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    videos = [write_video(tmp_path / name) for name in ("a.avi", "b.avi")]
    settings: dict[str, Any] = {"every": 3, "track": TRACKING}
    predict(small_model, out, videos[0], **settings)
    summary = predict(small_model, out, *videos, resume=True, **settings)
    assert (summary.images, summary.already_finished) == (3, 1)
    entries = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    frames = [(entry["file_name"], entry["frame"]) for entry in entries if "frame" in entry]
    assert frames == [(name, index) for name in ("a.avi", "b.avi") for index in (0, 3, 6)]


def write_image_poses(folder: Path, *names: str, resume: bool = False) -> list[str]:
    """Writes one person for each image that the folder does not contain, and returns its names."""
    ones = np.ones((1, 17, 2), np.float32)
    poses = Poses(ones, ones[..., 0], ones[:, 0, 0])
    image = np.zeros((64, 64, 3), np.uint8)
    written = []
    with PredictionWriter(folder, {"size": 64}, resume=resume, csv_skeleton=COCO) as writer:
        for source in (Source(name, Path(name)) for name in names):
            if not writer.contains(source):
                writer.add(Frame(image, source), poses)
                written.append(source.name)
    return written


@pytest.mark.parametrize("settings", [None, b"", b"\xff", b"[]", b'{"size": 32}', b"[" * 100_000])
def test_predictions_with_missing_or_invalid_settings_are_not_resumed(
    settings: bytes | None, tmp_path: Path
) -> None:
    write_image_poses(tmp_path, "a.png")
    (tmp_path / "settings.json").unlink()
    if settings is not None:
        (tmp_path / "settings.json").write_bytes(settings)
    with pytest.raises(InputError, match=r"other settings \(size\)"):
        write_image_poses(tmp_path, "a.png", resume=True)


RESULT = {"image_id": "a.png", "keypoints": [1, 2, 0.5] * 17, "score": 0.5}
ENTRY = {"image_id": "a.png", "file_name": "a.png", "people": [RESULT]}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        json.dumps(ENTRY).encode()[:-9],
        b"\xff\xfe",
        b"5",
        b"[1, 2]",
        b'"image_id"',
        b"[" * 100_000,
        *(
            json.dumps(ENTRY | changes).encode()
            for changes in (
                {"file_name": ["a.png"]},
                {"image_id": ["a.png"]},
                {"people": None},
                {"people": [5]},
                {"people": [RESULT | {"score": None}]},
                {"people": [RESULT | {"keypoints": [1, 2]}]},
            )
        ),
    ],
)
def test_images_of_invalid_lines_are_predicted_again(line: bytes, tmp_path: Path) -> None:
    write_image_poses(tmp_path, "a.png", "b.png")
    expected = (tmp_path / "predictions.csv").read_text()
    jsonl = tmp_path / "predictions.jsonl"
    jsonl.write_bytes(line + b"\n" + jsonl.read_bytes().splitlines()[1])
    assert write_image_poses(tmp_path, "a.png", "b.png", resume=True) == ["a.png"]
    assert [json.loads(row)["file_name"] for row in jsonl.read_text().splitlines()] == [
        "b.png", "a.png",
    ]  # fmt: skip
    assert sorted((tmp_path / "predictions.csv").read_text().split()) == sorted(expected.split())


def test_valid_lines_are_kept(tmp_path: Path) -> None:
    write_image_poses(tmp_path, "a.png", "b.png")
    before = (tmp_path / "predictions.jsonl").read_bytes()
    assert write_image_poses(tmp_path, "a.png", "b.png", resume=True) == []
    assert (tmp_path / "predictions.jsonl").read_bytes() == before


def images_in(folder: Path, *names: str) -> Path:
    """Creates a folder with images that differ from those of other folders."""
    value = sum(folder.name.encode()) % 256
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, np.full((64, 64, 3), value, np.uint8))
    return folder


def entries_in(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_images_of_equal_names_in_another_folder_are_not_taken_for_finished(
    small_model: ModelFiles, tmp_path: Path
) -> None:
    out, names = tmp_path / "out", ("IMG_0001.png", "sub/IMG_0001.png")
    days = [images_in(tmp_path / day, *names) for day in ("day1", "day2")]
    predict(small_model, out, days[0])
    summary = predict(small_model, out, days[1], resume=True)
    assert (summary.images, summary.already_finished) == (2, 0)
    assert [(entry["file_name"], entry["path"]) for entry in entries_in(out)] == [
        ("IMG_0001.png", str(days[0] / "IMG_0001.png")),
        ("sub/IMG_0001.png", str(days[0] / "sub" / "IMG_0001.png")),
        ("day2/IMG_0001.png", str(days[1] / "IMG_0001.png")),
        ("day2/sub/IMG_0001.png", str(days[1] / "sub" / "IMG_0001.png")),
    ]
    assert len({entry["image_id"] for entry in entries_in(out)}) == 4
    for sources in ((days[1], days[0]), days, (days[1],), (days[0],)):
        summary = predict(small_model, out, *sources, resume=True)
        assert (summary.images, summary.already_finished) == (0, 2 * len(sources))
    assert len(entries_in(out)) == 4


def test_videos_of_equal_names_in_another_folder_are_not_taken_for_finished(
    small_model: ModelFiles, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        write_video(tmp_path / day / "a.avi")
        predict(small_model, out, tmp_path / day / "a.avi", resume=True, every=5)
    names = [entry["file_name"] for entry in entries_in(out) if "finished" in entry]
    assert names == ["a.avi", "day2/a.avi"]
    summary = predict(small_model, out, tmp_path / "day1", tmp_path / "day2", resume=True, every=5)
    assert (summary.images, summary.already_finished) == (0, 2)


def test_drawings_of_the_resumed_run_are_not_overwritten(
    small_model: ModelFiles, tmp_path: Path
) -> None:
    predictor = Predictor.load(small_model.onnx, engine="onnxruntime", threads=1)
    settings = PredictSettings(tmp_path / "out", resume=True)
    for day, name in (("day1", "a.png"), ("day2", "a.png"), ("day3", "a.jpg")):
        folder = images_in(tmp_path / day, name)
        run_predict(predictor, list_sources([str(folder)], StringIO()), settings)
    drawings = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in settings.out.rglob("*_poses.jpg")
    )
    assert drawings == ["a.jpg_poses.jpg", "a_poses.jpg", "day2/a_poses.jpg"]


def test_a_path_may_be_given_in_another_form(
    small_model: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    images_in(tmp_path / "day1", "a.png")
    predict(small_model, out, tmp_path / "day1")
    monkeypatch.chdir(tmp_path)
    for path in ("day1", "./day1/a.png", "day1/../day1/*.png"):
        summary = predict(small_model, out, Path(path), resume=True)
        assert (summary.images, summary.already_finished) == (0, 1), path


def test_predictions_without_paths_are_not_resumed(tmp_path: Path) -> None:
    """Earlier versions did not record them."""
    write_image_poses(tmp_path, "a.png")
    jsonl = tmp_path / "predictions.jsonl"
    (entry,) = entries_in(tmp_path)
    del entry["path"]
    jsonl.write_text(json.dumps(entry) + "\n")
    with pytest.raises(InputError, match=r"earlier version .*; omit --resume .* another folder$"):
        write_image_poses(tmp_path, "b.png", resume=True)
    assert entries_in(tmp_path) == [entry]
    assert write_image_poses(tmp_path, "b.png") == ["b.png"]


def test_a_camera_is_identified_by_its_name() -> None:
    assert source_path(Source("camera0", 0)) == "camera0"


def test_a_table_that_cannot_be_replaced_is_named(tmp_path: Path) -> None:
    write_image_poses(tmp_path, "a.png")
    (tmp_path / "predictions.csv").unlink(missing_ok=True)
    (tmp_path / "predictions.csv").mkdir()  # as if a spreadsheet program had locked it
    with pytest.raises(InputError, match=r"predictions\.csv: cannot be replaced: .*; close the"):
        write_image_poses(tmp_path, "b.png")


def test_names_of_the_maximum_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 245}.json"
    with atomic_path(path) as temporary:
        temporary.write_text("{}", encoding="utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no named pipes")
    os.mkfifo(tmp_path / "out.json")
    with (
        pytest.raises(InputError, match=r"out\.json: is a device or a pipe"),
        atomic_path(tmp_path / "out.json") as temporary,
    ):
        temporary.write_text("{}")
    assert (tmp_path / "out.json").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
