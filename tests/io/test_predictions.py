"""A resumed run continues the predictions in its folder if they were made with its settings."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higherhrnet import InputError, Poses, Predictor
from higherhrnet.inference.run import PredictSettings, Summary, run_predict
from higherhrnet.io.listing import list_sources
from higherhrnet.io.predictions import PredictionWriter
from higherhrnet.io.sources import Frame, Source
from higherhrnet.skeleton import COCO
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
