"""Drawn videos beside their sources: the same clock, the same way up, the same sound."""

from __future__ import annotations

import csv
import json
import shutil
import struct
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from higherhrnet import COCO, InputError, Predictor
from higherhrnet.inference.run import PredictSettings, Summary, run_predict
from higherhrnet.io.mp4 import Box, rewrite_timing
from higherhrnet.io.sources import Frame, Source, list_sources
from higherhrnet.io.video_writer import VideoWriter
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.tracking.tracker import TrackConfig
from tests.conftest import Model
from tests.telephone import LASTS, TICKS, as_from_a_telephone, box, one, walk


def write(path: Path, size: tuple[int, int] = (64, 48), count: int = len(LASTS)) -> Path:
    """Frames of a drawn scene at 10 a second; each is lighter than the one before."""
    avi = path.suffix == ".avi"  # OpenCV's own writer, which takes odd sizes
    codec = cv2.VideoWriter.fourcc(*("MJPG" if avi else "mp4v"))
    backend = cv2.CAP_OPENCV_MJPEG if avi else cv2.CAP_FFMPEG
    writer = cv2.VideoWriter(str(path), backend, codec, 10.0, size)
    assert writer.isOpened()
    image = draw_scene(3, height=size[1], width=size[0]).image
    for index in range(count):
        writer.write(np.minimum(image, 200) + np.uint8(6 * index))
    writer.release()
    return path


def frames(path: Path) -> tuple[list[float], list[NDArray[np.uint8]]]:
    """Times in seconds and BGR pictures, as OpenCV reads them."""
    capture = cv2.VideoCapture(str(path))
    times: list[float] = []
    images: list[NDArray[np.uint8]] = []
    while True:
        there, image = capture.read()
        if not there:
            return times, images
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        images.append(np.asarray(image, np.uint8))


def alike(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether two pictures differ by what a codec loses: frames' brightness differs by 6."""
    difference = a.astype(int) - b
    return bool(abs(difference.mean()) < 3 and np.median(np.abs(difference)) < 8)


def sounds(path: Path) -> list[tuple[bytes, list[tuple[int, int]], int]]:
    """Each sound track's first bytes, edits and ticks a second of the film."""
    data, found = path.read_bytes(), []
    (scale,) = struct.unpack_from(">I", one(data, b"moov", b"mvhd")[1], 20)
    for _, track in walk(data, (b"moov", b"trak")):
        if one(track, b"mdia", b"hdlr")[1][8:12] == b"soun":
            _, places = one(track, b"mdia", b"minf", b"stbl", b"co64")
            (size,) = struct.unpack_from(">I", one(track, b"mdia", b"minf", b"stbl", b"stsz")[1], 8)
            starts = [place for (place,) in struct.iter_unpack(">Q", places[8:])]
            run = size // len(starts)
            _, edits = one(track, b"edts", b"elst")
            rows = [(last, at) for last, at, _ in struct.iter_unpack(">IiI", edits[8:])]
            found.append((b"".join(data[s : s + run] for s in starts), rows, scale))
    return found


def finding(model: Model, **settings: Any) -> Predictor:  # noqa: ANN401
    predictor = Predictor.load(model.onnx, engine="onnxruntime", threads=1)
    predictor.config = replace(
        predictor.config, decode=replace(predictor.config.decode, **settings)
    )
    return predictor


@pytest.fixture(scope="module")
def nobody(lively: Model) -> Predictor:
    """Finds nobody, so that nothing is drawn over the frames."""
    return finding(lively, min_score=1.0)


@pytest.fixture(scope="module")
def three(lively: Model) -> Predictor:
    """Finds three people."""
    return finding(lively, limit=3)


def run(predictor: Predictor, path: Path, out: Path, *, resume: bool = False) -> Summary:
    settings = PredictSettings(out, write_csv=True, track=TrackConfig(), resume=resume)
    return run_predict(predictor, list_sources([str(path)], StringIO()), settings)


def test_a_telephones_video_keeps_its_clock_its_way_up_and_its_sound(
    nobody: Predictor, tmp_path: Path
) -> None:
    sound = bytes(np.random.default_rng(0).integers(0, 256, 4000, np.uint8))
    path = write(tmp_path / "clip.mp4")
    as_from_a_telephone(path, sound)
    times, images = frames(path)
    assert times == pytest.approx((np.cumsum(LASTS) - LASTS) / TICKS, abs=1e-3)
    assert images[0].shape == (64, 48, 3)
    summary = run(nobody, path, tmp_path / "out")
    assert (summary.images, summary.failed) == (8, [])
    drawn_times, drawn = frames(tmp_path / "out" / "clip_poses.mp4")
    assert drawn_times == pytest.approx(times, abs=1e-3)
    assert all(map(alike, images, drawn))
    ((copied, edits, scale),) = sounds(tmp_path / "out" / "clip_poses.mp4")
    assert copied == sound
    assert [(last / scale, at) for last, at in edits] == [(0.25, -1), (0.5, 0)]


def test_lines_and_table_say_the_same(three: Predictor, tmp_path: Path) -> None:
    run(three, write(tmp_path / "clip.mp4"), tmp_path / "out")
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    people = [person for line in lines for person in json.loads(line).get("people", ())]
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(people) == 3 * 8
    for row, person in zip(rows, people, strict=True):
        assert row["image"] == "clip.mp4"
        assert (int(row["frame"]), int(row["track"])) == (person["frame"], person["track_id"])
        assert float(row["time"]) == pytest.approx(person["frame"] / 10)
        assert float(row["score"]) == person["score"]
        for index, name in enumerate(COCO.names):
            cells = [row[f"{name}_{part}"] for part in ("x", "y", "score")]
            x, y, score = person["keypoints"][3 * index : 3 * index + 3]
            assert cells == ["", "", ""] if score == 0 else [*map(float, cells)] == [x, y, score]


def test_a_run_gone_on_with_is_as_one_that_was_not_stopped(
    three: Predictor, tmp_path: Path
) -> None:
    """The video that was cut short is followed anew, from its first frame and the number 1."""
    source, whole, cut = (tmp_path / name for name in ("in", "whole", "cut"))
    source.mkdir()
    for name in "ab":
        write(source / f"{name}.mp4")
    run(three, source, whole)
    shutil.copytree(whole, cut)
    lines = (whole / "predictions.jsonl").read_text().splitlines()
    (cut / "predictions.jsonl").write_text("\n".join(lines[:13]) + '\n{"image_id": "b.m')
    (cut / "predictions.csv").unlink()
    assert run(three, source, cut, resume=True).images == 8
    for kind in ("json", "jsonl", "csv"):
        name = f"predictions.{kind}"
        assert (whole / name).read_text() == (cut / name).read_text()


def test_odd_sizes_are_drawn_but_for_the_last_column_and_row(
    nobody: Predictor, tmp_path: Path
) -> None:
    path = write(tmp_path / "odd.avi", (63, 49))
    times, images = frames(path)
    assert images[0].shape == (49, 63, 3)
    assert run(nobody, path, tmp_path / "out").failed == []
    drawn_times, drawn = frames(tmp_path / "out" / "odd_poses.mp4")
    assert drawn_times == pytest.approx(times, abs=1e-3)
    assert drawn[0].shape == (48, 62, 3)
    assert all(map(alike, (image[:48, :62] for image in images), drawn))


def test_a_truncated_video_is_drawn_to_there(nobody: Predictor, tmp_path: Path) -> None:
    path = write(tmp_path / "cut.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    summary = run(nobody, path, tmp_path / "out")
    assert 2 < summary.images < 8 and len(summary.failed) == 1
    assert len(frames(tmp_path / "out" / "cut_poses.mp4")[0]) == summary.images


@pytest.mark.parametrize("end", [0.2, 0.6, 0.9, 0.99])
def test_a_sound_that_cannot_be_copied_costs_only_the_sound(end: float, tmp_path: Path) -> None:
    source, drawn = write(tmp_path / "a.mp4"), write(tmp_path / "b.mp4")
    as_from_a_telephone(source, bytes(4000))
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * end)])
    times = [0.0, 0.1, 0.3, *np.arange(1.0, 6.0).tolist()]
    rewrite_timing(drawn, times, source)
    assert frames(drawn)[0] == pytest.approx(times, abs=1e-3)
    assert sounds(drawn) == []
    with pytest.raises(ValueError, match="no MP4"):
        rewrite_timing(write(tmp_path / "c.avi"), times)


def test_a_fine_clock_and_hours_fit(tmp_path: Path) -> None:
    """32 bits would be full after 7 minutes of the source's clock, and 13 hours of the frames'."""
    source, drawn = write(tmp_path / "a.mp4"), write(tmp_path / "b.mp4")
    as_from_a_telephone(source, bytes(4000))
    change(source, (b"moov", b"mvhd"), 12, struct.pack(">I", 10_000_000))
    times = np.linspace(0, 16 * 3600, 8).tolist()
    rewrite_timing(drawn, times, source)
    assert frames(drawn)[0] == pytest.approx(times, abs=1e-3)
    assert [scale for *_, scale in sounds(drawn)] == [10_000_000]


def change(path: Path, kinds: tuple[bytes, ...], place: int, new: bytes) -> None:
    """Writes over a box's inside from a place on; of several the last."""
    data = path.read_bytes()
    *_, (start, _) = walk(data, kinds)
    path.write_bytes(data[: start + place] + new + data[start + place + len(new) :])


SOUND = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stco")


@pytest.mark.parametrize(
    ("kinds", "place", "new"),
    [
        (SOUND, 8, struct.pack(">I", 1 << 31)),
        (SOUND, -4, b"co64"),  # of half as many, far beyond the end
        ((b"moov", b"mvhd"), -8, struct.pack(">I", 8)),  # cut off
        ((b"moov", b"trak", b"tkhd"), -4, b"free"),
        ((b"moov", b"trak", b"edts", b"elst"), -8, struct.pack(">I", 12)),
    ],
)
def test_a_sound_whose_tables_make_no_sense_is_left_out(
    kinds: tuple[bytes, ...], place: int, new: bytes, tmp_path: Path
) -> None:
    source, drawn = write(tmp_path / "a.mp4"), write(tmp_path / "b.mp4")
    as_from_a_telephone(source, bytes(4000))
    change(source, kinds, place, new)
    rewrite_timing(drawn, np.arange(8.0).tolist(), source)
    assert frames(drawn)[0] == pytest.approx(np.arange(8.0), abs=1e-3)
    assert sounds(drawn) == []


def test_a_sound_that_is_cut_short_or_told_twice_is_left_out(tmp_path: Path) -> None:
    source, drawn = write(tmp_path / "a.mp4"), write(tmp_path / "b.mp4")
    as_from_a_telephone(source, bytes(40_000))
    data = source.read_bytes()
    *_, (_, table) = walk(data, SOUND)
    (first,) = struct.unpack_from(">I", table, 8)
    change(source, SOUND, 12, struct.pack(">I", first))
    rewrite_timing(drawn, np.arange(8.0).tolist(), source)
    assert sounds(drawn) == []

    tables, sound = data[first + 40_000 :], data[first - 8 : first + 40_000]
    source.write_bytes(data[: first - 8] + tables + sound)  # as for playing while it loads
    places = [first + len(tables), first + len(tables) + 20_000]
    change(source, SOUND, 8, struct.pack(">II", *places))
    whole = source.read_bytes()
    for cut, count in ((0, 1), (1000, 0)):
        source.write_bytes(whole[: len(whole) - cut])
        rewrite_timing(write(drawn), np.arange(8.0).tolist(), source)
        assert len(sounds(drawn)) == count


def test_a_video_without_all_its_frames_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="8 of its 9 frames"):
        rewrite_timing(write(tmp_path / "a.mp4"), np.arange(9.0).tolist())


def test_boxes_nested_however_deep_come_back_as_they_were() -> None:
    data = b""
    for _ in range(2000):
        data = box(b"edts", data)
    assert bytes(Box.parse(b"moov", data)) == box(b"moov", data)


def test_a_drawing_that_cannot_be_written_stays_with_its_video(
    nobody: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in "ab":
        write(source / f"{name}.mp4")
    (out / "a_poses.mp4" / "taken").mkdir(parents=True)
    summary = run(nobody, source, out)
    assert summary.images == 16
    assert len(summary.failed) == 1 and "a_poses.mp4" in summary.failed[0]
    assert "not drawn: " in capsys.readouterr().err
    assert len(frames(out / "b_poses.mp4")[0]) == 8
    lines = map(json.loads, (out / "predictions.jsonl").read_text().splitlines())
    assert [line["file_name"] for line in lines if "finished" in line] == ["b.mp4"]


class Clip:
    """A made-up clip, 10 frames a second, and what is said of its drawing."""

    def __init__(self, folder: Path) -> None:
        self.source = Source("clip.mp4", folder / "clip.mp4")
        self.drawn = folder / "clip_poses.mp4"
        self.said: list[str] = []
        self.videos = VideoWriter({self.source: folder / "clip"}, 1, self._finished, self._failed)

    def _finished(self, source: Source) -> None:
        self.said.append(source.name)

    def _failed(self, error: InputError) -> None:
        self.said.append(str(error))

    def add(self, index: int, width: int = 64, fps: float = 10.0) -> None:
        image = np.full((width * 3 // 4, width, 3), 20 * index, np.uint8)
        self.videos.add(Frame(image, self.source, index, index / 10, fps), image)


@pytest.mark.parametrize("missed", [0, 5])
def test_a_frame_that_fails_is_left_out_and_the_video_not_finished(
    missed: int, tmp_path: Path
) -> None:
    clip = Clip(tmp_path)
    for index in range(8):
        if index == missed:
            clip.videos.miss(clip.source)
        else:
            clip.add(index)
    clip.videos.close()
    there = np.delete(np.arange(8) / 10, missed)
    assert frames(clip.drawn)[0] == pytest.approx(there - there[0], abs=1e-3)
    assert clip.said == []


def test_frames_of_another_size_are_shown_in_the_firsts(tmp_path: Path) -> None:
    clip = Clip(tmp_path)
    for index in range(8):
        clip.add(index, 64 if index < 4 else 128)
    clip.videos.close()
    _, images = frames(clip.drawn)
    assert [image.shape for image in images] == [(48, 64, 3)] * 8
    assert [image.mean() for image in images] == pytest.approx(20 * np.arange(8), abs=4)
    assert clip.said == ["clip.mp4"]


@pytest.mark.parametrize("early", [True, False])
def test_the_last_drawing_that_fails_is_told_and_not_finished(early: bool, tmp_path: Path) -> None:
    """Early: its folder is a file; late: its place is taken by a folder."""
    clip = Clip(tmp_path / "out")
    if early:
        (tmp_path / "out").touch()
    else:
        (clip.drawn / "taken").mkdir(parents=True)
    for index in range(3):
        clip.add(index)
    clip.videos.close()
    (line,) = clip.said
    assert line.startswith(f"{clip.drawn}: cannot be written: ")


def test_a_clip_of_one_frame_in_minutes_is_drawn(tmp_path: Path) -> None:
    clip = Clip(tmp_path)
    for index in range(3):
        clip.add(index, fps=0.004)
    clip.videos.close()
    assert len(frames(clip.drawn)[0]) == 3
