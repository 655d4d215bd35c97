"""Folders, patterns, lists and videos, all of them real files."""

from __future__ import annotations

import os
import struct
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from higherhrnet.errors import InputError
from higherhrnet.io.sources import (
    IMAGE_EXTENSIONS,
    VIDEO_EXTENSIONS,
    Source,
    count_frames,
    list_sources,
    read_frames,
)

FPS, FRAMES, HEIGHT, WIDTH = 10, 12, 48, 64


def listed(*sources: str | Path, stdin: str = "") -> list[str]:
    return [source.name for source in list_sources([*map(str, sources)], StringIO(stdin))]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def scene(index: int) -> NDArray[np.uint8]:
    """Grey that brightens by 20 a frame, with a red square (RGB) in the upper left."""
    image = np.full((HEIGHT, WIDTH, 3), min(20 * index, 255), np.uint8)
    image[:16, :16] = (255, 0, 0)
    return image


def write_video(path: Path, codec: str = "mp4v", frames: int = FRAMES) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(cv2.cvtColor(scene(index), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4")


def as_source(path: Path) -> Source:
    return list_sources([str(path)], StringIO())[0]


def test_folder_gives_all_below_it_in_the_order_people_count(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/10.jpg", "b/1.jpg", "a.png", "c/clip.mp4", "b/deep er/ü.webp")
    touch(tmp_path, "notes.txt", ".hidden.jpg", ".cache/x.jpg", "b/._1.jpg")
    assert listed(tmp_path) == [
        "a.png", "b/1.jpg", "b/2.JPG", "b/10.jpg", "b/deep er/ü.webp", "c/clip.mp4",
    ]  # fmt: skip


def test_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    names = [f"{kind}{n:0{digits}}.jpg" for kind in "xy" for n in range(12) for digits in (1, 2)]
    touch(tmp_path, *names)
    found = listed(tmp_path)
    assert sorted(found) == sorted(set(names))
    values = [(name[0], int(name[1:-4]), name) for name in found]
    assert values == sorted(values)


def test_linked_folders_are_read_once_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/2.jpg", "root/1.jpg")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "same").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "root") == ["1.jpg", "link/2.jpg"]
    assert listed(tmp_path / "root" / "**" / "*.jpg") == ["1.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["1.jpg", "2.jpg"]),
        ("[2-9].*", ["2.jpg", "3.png"]),
        ("?.png", ["3.png"]),
        ("*", ["1.jpg", "2.jpg", "3.png"]),
        ("in/*/*.jpg", ["a/4.jpg", "b/5.jpg"]),
        ("**/*.jpg", ["1.jpg", "2.jpg", "in/a/4.jpg", "in/b/5.jpg"]),
        ("**", ["1.jpg", "2.jpg", "3.png", "in/a/4.jpg", "in/b/5.jpg"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touch(tmp_path, "1.jpg", "2.jpg", "3.png", "in/a/4.jpg", "in/b/5.jpg")
    touch(tmp_path, ".4.jpg", "in/.a/6.jpg", "list.txt")
    assert listed(tmp_path / pattern) == expected


def test_pattern_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "1.jpg", "in/2.jpg")
    monkeypatch.chdir(tmp_path)
    assert listed("*.jpg") == ["1.jpg"]
    assert listed("**/*.jpg") == ["1.jpg", "in/2.jpg"]
    assert listed(".") == ["1.jpg", "in/2.jpg"]


def test_a_file_named_like_a_pattern_or_a_camera_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "me[1].jpg", "me1.jpg", "0", "album[2]/3.jpg")
    monkeypatch.chdir(tmp_path)
    assert listed("me[1].jpg", "0", "album[2]") == ["me[1].jpg", "0", "3.jpg"]
    assert list_sources(["1"], StringIO()) == [Source("camera1", 1)]
    assert list_sources(["1"], StringIO())[0].is_video


def test_standard_input_lists_files(tmp_path: Path) -> None:
    lines = f"{tmp_path}/a b.jpg\n\n{tmp_path}/ü.mp4\r\nmissing*.jpg\n"
    sources = list_sources(["-"], StringIO(lines))
    assert [source.name for source in sources] == ["a b.jpg", "ü.mp4", "missing*.jpg"]
    assert sources[0].origin == tmp_path / "a b.jpg"
    assert [source.is_video for source in sources] == [False, True, False]


def test_each_file_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "in/1.jpg", "in/2.jpg")
    monkeypatch.chdir(tmp_path)
    given = ["in/2.jpg", "in", "./in/1.jpg", "in/../in/*.jpg", str(tmp_path / "in"), "-"]
    assert listed(*given, stdin="in/1.jpg\n") == ["2.jpg", "1.jpg"]
    assert listed("7", "07", "7") == ["camera7"]


def test_names_differ_and_stay_below_the_output_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/x/1.jpg", "b/x/1.jpg", "c/1.jpg", "c/2.jpg")
    assert listed(*(tmp_path / name for name in ("a", "b", "c"))) == [
        "x/1.jpg", "b/x/1.jpg", "1.jpg", "2.jpg",
    ]  # fmt: skip
    files = [str(tmp_path / name) for name in ("a/x/1.jpg", "b/x/1.jpg", "c/../c/1.jpg")]
    assert listed(*files) == ["1.jpg", "x/1.jpg", "c/1.jpg"]


def test_missing_file_is_listed_and_refused_in_its_turn(tmp_path: Path) -> None:
    Pillow.new("RGB", (32, 32), "red").save(tmp_path / "good.png")
    missing, good = list_sources([str(tmp_path / "lost.jpg"), str(tmp_path)], StringIO())
    with pytest.raises(InputError, match=r"lost\.jpg: cannot be read: No such file"):
        next(read_frames(missing))
    assert next(read_frames(good)).image[0, 0].tolist() == [255, 0, 0]


def test_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, "readme.txt")
    with pytest.raises(InputError) as caught:
        listed(tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path))
    assert all(extension in message for extension in IMAGE_EXTENSIONS + VIDEO_EXTENSIONS)
    assert "\n" not in message


def test_pattern_without_match_and_no_pattern_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\*\.jpg: the pattern finds no picture or video"):
        listed(tmp_path / "*.jpg")
    with pytest.raises(InputError, match="standard input lists no file"):
        listed("-", stdin="\n \n")


def test_picture_on_standard_input_instead_of_a_list() -> None:
    with pytest.raises(InputError, match="standard input must be text"):
        list_sources(["-"], TextIOWrapper(BytesIO(b"\xff\xd8\xff\xe0"), encoding="utf-8"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything is permitted")
def test_folder_without_permission(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "locked/2.jpg")
    (tmp_path / "locked").chmod(0)
    try:
        with pytest.raises(InputError, match="locked: cannot be read: Permission denied"):
            listed(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_picture_is_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Pillow.fromarray(scene(3)).save(path)
    (frame,) = read_frames(as_source(path), every=5)
    np.testing.assert_array_equal(frame.image, scene(3))
    assert (frame.source.name, frame.index, frame.time, frame.fps) == ("a.png", None, None, None)
    assert count_frames(as_source(path), every=5) == 1


@pytest.mark.parametrize("every", [1, 5, 100])
def test_every_nth_frame_with_its_time(video: Path, every: int) -> None:
    frames = list(read_frames(as_source(video), every))
    assert [frame.index for frame in frames] == list(range(0, FRAMES, every))
    assert [frame.time for frame in frames] == pytest.approx(
        [index / FPS for index in range(0, FRAMES, every)]
    )
    assert {frame.fps for frame in frames} == {FPS}
    assert count_frames(as_source(video), every) == len(frames)
    for frame in frames:
        assert frame.index is not None
        difference = np.abs(frame.image.astype(int) - scene(frame.index))
        assert np.median(difference) <= 6  # the codec loses a little
        red = frame.image[4:12, 4:12].mean(axis=(0, 1))
        assert red[0] > 200
        assert max(red[1:]) < 60


def test_frames_are_read_one_at_a_time(video: Path) -> None:
    frames = read_frames(as_source(video))
    first = next(frames)
    kept = first.image.copy()
    next(frames)
    np.testing.assert_array_equal(first.image, kept)  # not overwritten by the next
    frames.close()  # type: ignore[attr-defined]


def test_video_filmed_on_its_side_is_turned(video: Path, tmp_path: Path) -> None:
    """As telephones store it: the pixels lie, and the track's matrix says how to turn them."""
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    quarter_turn = (0, 0x10000, 0, -0x10000, 0, 0, HEIGHT << 16, 0, 0x40000000)
    data[matrix : matrix + 36] = struct.pack(">9i", *quarter_turn)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    lying, upright = next(read_frames(as_source(video))), next(read_frames(as_source(turned)))
    np.testing.assert_array_equal(upright.image, np.rot90(lying.image, -1))


def test_truncated_video_gives_what_is_there(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", "MJPG", frames=60)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    frames = []
    with pytest.raises(InputError, match=r"cut\.avi: ends after \d+ of its 60 frames"):
        for frame in read_frames(as_source(cut)):
            frames.append(frame)
    assert 20 < len(frames) < 60
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_a_video_slower_than_its_header_says_is_not_cut_short(tmp_path: Path) -> None:
    """As browsers record: the rate is what the camera can do at most, times are what it did."""
    path = write_video(tmp_path / "slow.mkv", "MJPG")
    data = bytearray(path.read_bytes())
    place = data.index(b"\x23\xe3\x83\x84") + 4  # Matroska's DefaultDuration, nanoseconds
    assert struct.unpack_from(">I", data, place) == (10**9 // FPS,)
    struct.pack_into(">I", data, place, 10**9 // (3 * FPS))
    path.write_bytes(data)
    assert count_frames(as_source(path)) > 2 * FRAMES
    for every in (1, 5):
        frames = list(read_frames(as_source(path), every))
        times = np.arange(0, FRAMES, every) / FPS
        assert [frame.time for frame in frames] == pytest.approx(times, abs=2e-3)


@pytest.mark.parametrize("content", [b"", b"Dear reader, this is no film.\n" * 20])
def test_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(content)
    assert count_frames(as_source(path)) == 0
    with pytest.raises(InputError, match=r"text\.mp4: not a video that can be read"):
        next(read_frames(as_source(path)))


def test_missing_video_and_camera(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lost\.mp4: cannot be read: No such file"):
        next(read_frames(as_source(tmp_path / "lost.mp4")))
    with pytest.raises(InputError, match="camera 97 gives no picture"):
        next(read_frames(Source("camera97", 97)))
    assert count_frames(Source("camera97", 97)) == 0


def test_every_must_be_positive(video: Path) -> None:
    with pytest.raises(InputError, match="--every must be at least 1, not 0"):
        next(read_frames(as_source(video), every=0))
