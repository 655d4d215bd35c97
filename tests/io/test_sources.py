"""Folders, patterns, lists, videos and cameras are listed and read."""

from __future__ import annotations

import os
import struct
import sys
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from higherhrnet.errors import InputError
from higherhrnet.io.images import IMAGE_EXTENSIONS
from higherhrnet.io.kinds import VIDEO_EXTENSIONS
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Source, count_frames, read_frames

FPS, FRAMES, HEIGHT, WIDTH = 10, 12, 48, 64


def listed_names(*sources: str | Path, stdin: str = "") -> list[str]:
    return [source.name for source in list_sources([*map(str, sources)], StringIO(stdin))]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def frame_image(index: int) -> NDArray[np.uint8]:
    """A gray image, brighter by 20 in each frame, with a red square in the upper left."""
    image = np.full((HEIGHT, WIDTH, 3), min(20 * index, 255), np.uint8)
    image[:16, :16] = (255, 0, 0)
    return image


def write_video(path: Path, codec: str = "mp4v", frames: int = FRAMES) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(cv2.cvtColor(frame_image(index), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4")


def source_of(path: Path) -> Source:
    return list_sources([str(path)], StringIO())[0]


def test_files_below_a_folder_are_listed_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/10.jpg", "b/1.jpg", "a.png", "c/clip.mp4", "b/deep er/ü.webp")
    touch(tmp_path, "notes.txt", ".hidden.jpg", ".cache/x.jpg", "b/._1.jpg")
    assert listed_names(tmp_path) == [
        "a.png", "b/1.jpg", "b/2.JPG", "b/10.jpg", "b/deep er/ü.webp", "c/clip.mp4",
    ]  # fmt: skip


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    names = [f"{kind}{n:0{digits}}.jpg" for kind in "xy" for n in range(12) for digits in (1, 2)]
    touch(tmp_path, *names)
    listed = listed_names(tmp_path)
    assert sorted(listed) == sorted(set(names))
    keys = [(name[0], int(name[1:-4]), name) for name in listed]
    assert keys == sorted(keys)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/2.jpg", "root/1.jpg")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "same").symlink_to(tmp_path / "elsewhere")
    assert listed_names(tmp_path / "root") == ["1.jpg", "link/2.jpg"]
    assert listed_names(tmp_path / "root" / "**" / "*.jpg") == ["1.jpg"]


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
def test_patterns_match_visible_images(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touch(tmp_path, "1.jpg", "2.jpg", "3.png", "in/a/4.jpg", "in/b/5.jpg")
    touch(tmp_path, ".4.jpg", "in/.a/6.jpg", "list.txt")
    assert listed_names(tmp_path / pattern) == expected


def test_patterns_are_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "1.jpg", "in/2.jpg")
    monkeypatch.chdir(tmp_path)
    assert listed_names("*.jpg") == ["1.jpg"]
    assert listed_names("**/*.jpg") == ["1.jpg", "in/2.jpg"]
    assert listed_names(".") == ["1.jpg", "in/2.jpg"]


def test_an_existing_file_precedes_a_pattern_or_a_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "me[1].jpg", "me1.jpg", "0", "album[2]/3.jpg")
    monkeypatch.chdir(tmp_path)
    assert listed_names("me[1].jpg", "0", "album[2]") == ["me[1].jpg", "0", "3.jpg"]
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
    arguments = ["in/2.jpg", "in", "./in/1.jpg", "in/../in/*.jpg", str(tmp_path / "in"), "-"]
    assert listed_names(*arguments, stdin="in/1.jpg\n") == ["2.jpg", "1.jpg"]
    assert listed_names("7", "07", "7") == ["camera7"]


def test_names_are_unique_and_relative(tmp_path: Path) -> None:
    touch(tmp_path, "a/x/1.jpg", "b/x/1.jpg", "c/1.jpg", "c/2.jpg")
    assert listed_names(*(tmp_path / name for name in ("a", "b", "c"))) == [
        "x/1.jpg", "b/x/1.jpg", "1.jpg", "2.jpg",
    ]  # fmt: skip
    files = [str(tmp_path / name) for name in ("a/x/1.jpg", "b/x/1.jpg", "c/../c/1.jpg")]
    assert listed_names(*files) == ["1.jpg", "x/1.jpg", "c/1.jpg"]


def test_a_missing_file_is_listed_and_rejected_when_it_is_read(tmp_path: Path) -> None:
    Pillow.new("RGB", (32, 32), "red").save(tmp_path / "good.png")
    missing, good = list_sources([str(tmp_path / "lost.jpg"), str(tmp_path)], StringIO())
    with pytest.raises(InputError, match=r"lost\.jpg: cannot be read: No such file"):
        next(read_frames(missing))
    assert next(read_frames(good)).image[0, 0].tolist() == [255, 0, 0]


def test_a_folder_without_images_is_rejected_with_the_known_extensions(tmp_path: Path) -> None:
    touch(tmp_path, "readme.txt")
    with pytest.raises(InputError) as error:
        listed_names(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}: the folder contains no image or video")
    assert all(extension in message for extension in IMAGE_EXTENSIONS + VIDEO_EXTENSIONS)
    assert "\n" not in error.value.args[0]


def test_a_pattern_without_match_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\*\.jpg: the pattern matches no image or video"):
        listed_names(tmp_path / "*.jpg")


def test_an_invalid_pattern_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\*\*.*: not a valid pattern"):
        listed_names(tmp_path / "x**" / "*.jpg")


def test_an_empty_list_on_standard_input_is_rejected() -> None:
    with pytest.raises(InputError, match="standard input lists no file"):
        listed_names("-", stdin="\n \n")


def test_an_image_on_standard_input_is_rejected() -> None:
    with pytest.raises(InputError, match="standard input must be text"):
        list_sources(["-"], TextIOWrapper(BytesIO(b"\xff\xd8\xff\xe0"), encoding="utf-8"))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read all files")
def test_a_folder_without_permission_is_rejected(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "locked/2.jpg")
    (tmp_path / "locked").chmod(0)
    try:
        with pytest.raises(InputError, match="locked: cannot be read: Permission denied"):
            listed_names(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_an_image_is_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Pillow.fromarray(frame_image(3)).save(path)
    (frame,) = read_frames(source_of(path), every=5)
    np.testing.assert_array_equal(frame.image, frame_image(3))
    assert (frame.source.name, frame.index, frame.time, frame.fps) == ("a.png", None, None, None)
    assert count_frames(source_of(path), every=5) == 1


@pytest.mark.parametrize("every", [1, 5, 100])
def test_every_nth_frame_is_read_with_its_time(video: Path, every: int) -> None:
    frames = list(read_frames(source_of(video), every))
    assert [frame.index for frame in frames] == list(range(0, FRAMES, every))
    assert [frame.time for frame in frames] == pytest.approx(
        [index / FPS for index in range(0, FRAMES, every)]
    )
    assert {frame.fps for frame in frames} == {FPS}
    assert count_frames(source_of(video), every) == len(frames)
    for frame in frames:
        assert frame.index is not None
        difference = np.abs(frame.image.astype(int) - frame_image(frame.index))
        assert np.median(difference) <= 6  # compression
        red = frame.image[4:12, 4:12].mean(axis=(0, 1))
        assert red[0] > 200
        assert max(red[1:]) < 60


def test_frames_are_read_one_at_a_time(video: Path) -> None:
    frames = read_frames(source_of(video))
    first = next(frames)
    kept = first.image.copy()
    next(frames)
    np.testing.assert_array_equal(first.image, kept)  # not overwritten by the next frame
    frames.close()  # type: ignore[attr-defined]


def test_a_rotated_video_is_read_upright(video: Path, tmp_path: Path) -> None:
    """Phones store frames as the sensor is oriented, with a rotation in the track header."""
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    quarter_turn = (0, 0x10000, 0, -0x10000, 0, 0, HEIGHT << 16, 0, 0x40000000)
    data[matrix : matrix + 36] = struct.pack(">9i", *quarter_turn)
    rotated = tmp_path / "rotated.mp4"
    rotated.write_bytes(data)
    stored, upright = next(read_frames(source_of(video))), next(read_frames(source_of(rotated)))
    np.testing.assert_array_equal(upright.image, np.rot90(stored.image, -1))


def test_a_truncated_video_is_read_to_its_last_frame_and_rejected(tmp_path: Path) -> None:
    complete = write_video(tmp_path / "complete.avi", "MJPG", frames=60)
    truncated = tmp_path / "truncated.avi"
    truncated.write_bytes(complete.read_bytes()[: complete.stat().st_size * 2 // 3])
    frames = []
    with pytest.raises(InputError, match=r"truncated; ends after \d+ of its 60 frames"):
        for frame in read_frames(source_of(truncated)):
            frames.append(frame)
    assert 20 < len(frames) < 60
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_a_video_slower_than_its_nominal_rate_is_not_truncated(tmp_path: Path) -> None:
    """Browsers record the maximum rate of the camera in the header, and the actual times."""
    path = write_video(tmp_path / "slow.mkv", "MJPG")
    data = bytearray(path.read_bytes())
    offset = data.index(b"\x23\xe3\x83\x84") + 4  # Matroska's DefaultDuration, nanoseconds
    assert struct.unpack_from(">I", data, offset) == (10**9 // FPS,)
    struct.pack_into(">I", data, offset, 10**9 // (3 * FPS))
    path.write_bytes(data)
    assert count_frames(source_of(path)) > 2 * FRAMES
    for every in (1, 5):
        frames = list(read_frames(source_of(path), every))
        times = np.arange(0, FRAMES, every) / FPS
        assert [frame.time for frame in frames] == pytest.approx(times, abs=2e-3)


@pytest.mark.parametrize("content", [b"", b"Dear reader, this is not a video.\n" * 20])
def test_files_that_are_not_videos_are_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(content)
    assert count_frames(source_of(path)) == 0
    with pytest.raises(InputError, match=r"text\.mp4: not a video that OpenCV can read"):
        next(read_frames(source_of(path)))


def test_a_missing_video_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lost\.mp4: cannot be read: No such file"):
        next(read_frames(source_of(tmp_path / "lost.mp4")))


@pytest.mark.parametrize("number", [97, 2**31, 10**30])
def test_a_missing_camera_is_rejected(number: int) -> None:
    camera = Source(f"camera{number}", number)
    with pytest.raises(InputError, match=f"camera {number} cannot be read"):
        next(read_frames(camera))
    assert count_frames(camera) == 0


def test_every_must_be_positive(video: Path) -> None:
    with pytest.raises(InputError, match="--every must be at least 1, not 0"):
        next(read_frames(source_of(video), every=0))
