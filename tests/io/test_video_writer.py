"""Drawn videos have the frame times, the orientation and the audio of their sources."""

from __future__ import annotations

import csv
import json
import shutil
import struct
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from higherhrnet import COCO, InputError, Predictor
from higherhrnet.inference.run import PredictSettings, Summary, run_predict
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Frame, Source
from higherhrnet.io.video.mp4 import rewrite_timing
from higherhrnet.io.video.mp4_boxes import Box
from higherhrnet.io.video.video_writer import VideoWriter
from higherhrnet.tracking.tracker import TrackConfig
from tests.conftest import ModelFiles
from tests.io.videos import read_video, write_video
from tests.phone_video import (
    FRAME_TICKS,
    TIMESCALE,
    convert_to_phone_video,
    find_box,
    find_boxes,
    make_box,
)

CHUNK_OFFSETS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stco")


def same_frame(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether two images differ only by compression; consecutive frames differ by 6."""
    difference = a.astype(int) - b
    return bool(abs(difference.mean()) < 3 and np.median(np.abs(difference)) < 8)


def audio_tracks(path: Path) -> list[tuple[bytes, list[tuple[int, int]], int]]:
    """The samples, the edits (duration, media time) and the movie's ticks per second of each track
    of audio."""
    data, tracks = path.read_bytes(), []
    (timescale,) = struct.unpack_from(">I", find_box(data, b"moov", b"mvhd")[1], 20)
    for _, track in find_boxes(data, (b"moov", b"trak")):
        if find_box(track, b"mdia", b"hdlr")[1][8:12] == b"soun":
            _, table = find_box(track, b"mdia", b"minf", b"stbl")
            (size,) = struct.unpack_from(">I", find_box(table, b"stsz")[1], 8)
            rows = struct.iter_unpack(">Q", find_box(table, b"co64")[1][8:])
            offsets = [offset for (offset,) in rows]
            chunk = size // len(offsets)
            rows = struct.iter_unpack(">IiI", find_box(track, b"edts", b"elst")[1][8:])
            edits = [(duration, media_time) for duration, media_time, _ in rows]
            samples = b"".join(data[offset : offset + chunk] for offset in offsets)
            tracks.append((samples, edits, timescale))
    return tracks


def overwrite(path: Path, boxes: tuple[bytes, ...], offset: int, data: bytes) -> None:
    """Overwrites the content of the last box at a path of types from an offset on."""
    file = path.read_bytes()
    *_, (start, _) = find_boxes(file, boxes)
    path.write_bytes(file[: start + offset] + data + file[start + offset + len(data) :])


def load_predictor(model: ModelFiles, **decode: Any) -> Predictor:  # noqa: ANN401
    predictor = Predictor.load(model.onnx, engine="onnxruntime", threads=1)
    config = predictor.config
    predictor.config = replace(config, decode=replace(config.decode, **decode))
    return predictor


@pytest.fixture(scope="module")
def finds_nobody(small_model: ModelFiles) -> Predictor:
    """Finds nobody, so that nothing is drawn on the frames."""
    return load_predictor(small_model, min_score=1.0)


@pytest.fixture(scope="module")
def finds_three(small_model: ModelFiles) -> Predictor:
    return load_predictor(small_model, max_results=3)


def predict(predictor: Predictor, path: Path, out: Path, *, resume: bool = False) -> Summary:
    settings = PredictSettings(
        out, write_csv=True, track=TrackConfig(min_new_score=0.0), resume=resume
    )
    return run_predict(predictor, list_sources([str(path)], StringIO()), settings)


def test_a_phone_video_keeps_its_times_orientation_and_audio(
    finds_nobody: Predictor, tmp_path: Path
) -> None:
    audio = bytes(np.random.default_rng(0).integers(0, 256, 4000, np.uint8))
    path = write_video(tmp_path / "clip.mp4", count=len(FRAME_TICKS))
    convert_to_phone_video(path, audio)
    times, images = read_video(path)
    assert times == pytest.approx((np.cumsum(FRAME_TICKS) - FRAME_TICKS) / TIMESCALE, abs=1e-3)
    assert images[0].shape == (64, 48, 3)
    summary = predict(finds_nobody, path, tmp_path / "out")
    assert (summary.images, summary.failed) == (8, [])
    drawn_times, drawn = read_video(tmp_path / "out" / "clip_poses.mp4")
    assert drawn_times == pytest.approx(times, abs=1e-3)
    assert all(map(same_frame, images, drawn))
    ((samples, edits, timescale),) = audio_tracks(tmp_path / "out" / "clip_poses.mp4")
    assert samples == audio
    assert [(duration / timescale, start) for duration, start in edits] == [(0.25, -1), (0.5, 0)]


def test_jsonl_and_csv_have_the_same_content(finds_three: Predictor, tmp_path: Path) -> None:
    summary = predict(finds_three, write_video(tmp_path / "clip.mp4"), tmp_path / "out")
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    people = [person for line in lines for person in json.loads(line).get("people", ())]
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(people) == summary.people == 3 * 8
    assert summary.frames == summary.images == 8
    assert {id_ for _, id_ in summary.tracks} == {int(row["track_id"]) for row in rows}
    for row, person in zip(rows, people, strict=True):
        assert row["image"] == "clip.mp4"
        assert (int(row["frame"]), int(row["track_id"])) == (person["frame"], person["track_id"])
        assert float(row["time"]) == pytest.approx(person["frame"] / 10)
        assert float(row["score"]) == person["score"]
        for index, name in enumerate(COCO.names):
            cells = [row[f"{name}_{part}"] for part in ("x", "y", "score")]
            x, y, score = person["keypoints"][3 * index : 3 * index + 3]
            assert cells == ["", "", ""] if score == 0 else [*map(float, cells)] == [x, y, score]


def test_a_resumed_run_gives_the_same_files_as_an_uninterrupted_one(
    finds_three: Predictor, tmp_path: Path
) -> None:
    """An interrupted video is tracked again from its first frame, with track IDs from 1."""
    source, complete, interrupted = (tmp_path / name for name in ("in", "complete", "interrupted"))
    source.mkdir()
    for name in "ab":
        write_video(source / f"{name}.mp4")
    predict(finds_three, source, complete)
    shutil.copytree(complete, interrupted)
    lines = (complete / "predictions.jsonl").read_text().splitlines()
    cut_line = '{"image_id": "b.m'
    (interrupted / "predictions.jsonl").write_text("\n".join([*lines[:13], cut_line]))
    (interrupted / "predictions.csv").unlink()
    assert predict(finds_three, source, interrupted, resume=True).images == 8
    for suffix in ("json", "jsonl", "csv"):
        name = f"predictions.{suffix}"
        assert (complete / name).read_text() == (interrupted / name).read_text()


def test_the_last_column_and_row_of_odd_sizes_are_dropped(
    finds_nobody: Predictor, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "odd.avi", (63, 49))
    times, images = read_video(path)
    assert images[0].shape == (49, 63, 3)
    assert predict(finds_nobody, path, tmp_path / "out").failed == []
    drawn_times, drawn = read_video(tmp_path / "out" / "odd_poses.mp4")
    assert drawn_times == pytest.approx(times, abs=1e-3)
    assert drawn[0].shape == (48, 62, 3)
    assert all(map(same_frame, (image[:48, :62] for image in images), drawn))


def test_a_truncated_video_is_drawn_up_to_its_last_frame(
    finds_nobody: Predictor, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "cut.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    summary = predict(finds_nobody, path, tmp_path / "out")
    assert 2 < summary.images < 8 and len(summary.failed) == 1
    assert len(read_video(tmp_path / "out" / "cut_poses.mp4")[0]) == summary.images


@pytest.mark.parametrize("end", [0.2, 0.6, 0.9, 0.99])
def test_audio_of_a_truncated_source_is_omitted(end: float, tmp_path: Path) -> None:
    source, drawn = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4")
    convert_to_phone_video(source, bytes(4000))
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * end)])
    times = [0.0, 0.1, 0.3, *np.arange(1.0, 6.0).tolist()]
    rewrite_timing(drawn, times, source)
    assert read_video(drawn)[0] == pytest.approx(times, abs=1e-3)
    assert audio_tracks(drawn) == []


def test_times_of_another_format_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an MP4 file"):
        rewrite_timing(write_video(tmp_path / "c.avi"), np.arange(8.0).tolist())


def test_a_fine_time_scale_and_many_hours_are_supported(tmp_path: Path) -> None:
    """32 bits overflow after 7 minutes of the source's ticks and 13 hours of the video's."""
    source, drawn = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4")
    convert_to_phone_video(source, bytes(4000))
    overwrite(source, (b"moov", b"mvhd"), 12, struct.pack(">I", 10_000_000))
    times = np.linspace(0, 16 * 3600, 8).tolist()
    rewrite_timing(drawn, times, source)
    assert read_video(drawn)[0] == pytest.approx(times, abs=1e-3)
    assert [timescale for *_, timescale in audio_tracks(drawn)] == [10_000_000]


@pytest.mark.parametrize(
    ("boxes", "offset", "data"),
    [
        (CHUNK_OFFSETS, 8, struct.pack(">I", 1 << 31)),
        (CHUNK_OFFSETS, -4, b"co64"),  # half as many offsets, far beyond the end of the file
        ((b"moov", b"mvhd"), -8, struct.pack(">I", 8)),  # an empty box
        ((b"moov", b"mvhd"), 12, struct.pack(">I", 0)),  # 0 ticks per second
        ((b"moov", b"trak", b"tkhd"), -4, b"free"),
        ((b"moov", b"trak", b"edts", b"elst"), -8, struct.pack(">I", 12)),
    ],
)
def test_audio_with_invalid_tables_is_omitted(
    boxes: tuple[bytes, ...], offset: int, data: bytes, tmp_path: Path
) -> None:
    source, drawn = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4")
    convert_to_phone_video(source, bytes(4000))
    overwrite(source, boxes, offset, data)
    rewrite_timing(drawn, np.arange(8.0).tolist(), source)
    assert read_video(drawn)[0] == pytest.approx(np.arange(8.0), abs=1e-3)
    assert audio_tracks(drawn) == []


def test_audio_chunks_that_overlap_or_are_truncated_are_omitted(tmp_path: Path) -> None:
    source, drawn = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4")
    convert_to_phone_video(source, bytes(40_000))
    data = source.read_bytes()
    *_, (_, table) = find_boxes(data, CHUNK_OFFSETS)
    (first,) = struct.unpack_from(">I", table, 8)
    overwrite(source, CHUNK_OFFSETS, 12, struct.pack(">I", first))
    rewrite_timing(drawn, np.arange(8.0).tolist(), source)
    assert audio_tracks(drawn) == []

    # The audio at the end of the file, as it is arranged for streaming.
    tables, audio = data[first + 40_000 :], data[first - 8 : first + 40_000]
    source.write_bytes(data[: first - 8] + tables + audio)
    offsets = [first + len(tables), first + len(tables) + 20_000]
    overwrite(source, CHUNK_OFFSETS, 8, struct.pack(">II", *offsets))
    complete = source.read_bytes()
    for missing_bytes, num_tracks in ((0, 1), (1000, 0)):
        source.write_bytes(complete[: len(complete) - missing_bytes])
        rewrite_timing(write_video(drawn), np.arange(8.0).tolist(), source)
        assert len(audio_tracks(drawn)) == num_tracks


def test_a_video_with_missing_frames_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="8 of 9 frames"):
        rewrite_timing(write_video(tmp_path / "a.mp4"), np.arange(9.0).tolist())


def test_deeply_nested_boxes_are_kept_unchanged() -> None:
    data = b""
    for _ in range(2000):
        data = make_box(b"edts", data)
    assert bytes(Box.parse(b"moov", data)) == make_box(b"moov", data)


def test_a_video_that_cannot_be_written_does_not_affect_the_next(
    finds_nobody: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in "ab":
        write_video(source / f"{name}.mp4")
    (out / "a_poses.mp4" / "file").mkdir(parents=True)
    summary = predict(finds_nobody, source, out)
    assert summary.images == 16
    assert len(summary.failed) == 1 and "a_poses.mp4" in summary.failed[0]
    assert summary.failed[0] in capsys.readouterr().err
    assert len(read_video(out / "b_poses.mp4")[0]) == 8
    lines = map(json.loads, (out / "predictions.jsonl").read_text().splitlines())
    assert [line["file_name"] for line in lines if "finished" in line] == ["b.mp4"]


class Clip:
    """Writes a clip at 10 frames per second and records the calls of the writer."""

    def __init__(self, folder: Path) -> None:
        self.source = Source("clip.mp4", folder / "clip.mp4")
        self.path = folder / "clip_poses.mp4"
        self.calls: list[str] = []
        self.writer = VideoWriter(
            {self.source: folder / "clip"}, 1, self._on_finished, self._on_error
        )

    def _on_finished(self, source: Source) -> None:
        self.calls.append(source.name)

    def _on_error(self, error: InputError) -> None:
        self.calls.append(str(error))

    def add(self, index: int, width: int = 64, fps: float = 10.0) -> None:
        image = np.full((width * 3 // 4, width, 3), 20 * index, np.uint8)
        self.writer.add(Frame(image, self.source, index, index / 10, fps), image)


@pytest.mark.parametrize("missing", [0, 5])
def test_a_video_with_a_failed_frame_is_written_but_not_finished(
    missing: int, tmp_path: Path
) -> None:
    clip = Clip(tmp_path)
    for index in range(8):
        if index == missing:
            clip.writer.mark_incomplete(clip.source)
        else:
            clip.add(index)
    clip.writer.close()
    times = np.delete(np.arange(8) / 10, missing)
    assert read_video(clip.path)[0] == pytest.approx(times - times[0], abs=1e-3)
    assert clip.calls == []


def test_frames_of_another_size_are_resized_to_the_first(tmp_path: Path) -> None:
    clip = Clip(tmp_path)
    for index in range(8):
        clip.add(index, 64 if index < 4 else 128)
    clip.writer.close()
    _, images = read_video(clip.path)
    assert [image.shape for image in images] == [(48, 64, 3)] * 8
    assert [image.mean() for image in images] == pytest.approx(20 * np.arange(8), abs=4)
    assert clip.calls == ["clip.mp4"]


@pytest.mark.parametrize("when", ["opened", "closed"])
def test_an_error_of_the_last_video_is_reported_and_it_is_not_finished(
    when: str, tmp_path: Path
) -> None:
    clip = Clip(tmp_path / "out")
    if when == "opened":
        (tmp_path / "out").touch()  # a file instead of the output folder
    else:
        (clip.path / "file").mkdir(parents=True)  # a folder instead of the output file
    for index in range(3):
        clip.add(index)
    clip.writer.close()
    (message,) = clip.calls
    assert message.startswith(f"{clip.path}: cannot be written: ")


def test_a_video_with_a_frame_rate_below_one_per_minute_is_written(tmp_path: Path) -> None:
    clip = Clip(tmp_path)
    for index in range(3):
        clip.add(index, fps=0.004)
    clip.writer.close()
    assert len(read_video(clip.path)[0]) == 3
