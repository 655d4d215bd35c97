"""Folders report what they skip; lists may begin with a byte order mark; addresses are sources."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from PIL import Image as Pillow

from higherhrnet.errors import InputError
from higherhrnet.io.addresses import Url
from higherhrnet.io.listing import list_sources, output_names
from higherhrnet.io.sources import Source
from tests.io.videos import write_video

ListWithReport = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def list_with_report(capsys: pytest.CaptureFixture[str]) -> ListWithReport:
    """Lists the names of sources, and the lines that are printed to standard error."""

    def list_names(*arguments: str | Path) -> tuple[list[str], list[str]]:
        sources = list_sources([*map(str, arguments)], StringIO())
        return [source.name for source in sources], capsys.readouterr().err.splitlines()

    return list_names


def test_a_folder_reports_in_one_line_what_it_skips(
    tmp_path: Path, list_with_report: ListWithReport
) -> None:
    Pillow.new("RGB", (32, 32)).save(tmp_path / "1.jpg")
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "in/b.TXT", "c.json", "LICENSE", ".hidden.txt", "main.ts"):
        (tmp_path / name).write_text("const text = 1;\n")
    names, lines = list_with_report(tmp_path)
    assert names == ["1.jpg"]
    (line,) = lines
    assert line.startswith(f"{tmp_path}: skipped 5 files that are neither image nor video (2 .txt")
    assert {"1 .json", "1 .ts", "1 without extension"} <= {*re.split(r"[(,)] ?", line)}


def test_a_named_pipe_in_a_folder_is_skipped_instead_of_waiting_for_a_writer(
    tmp_path: Path, list_with_report: ListWithReport
) -> None:
    Pillow.new("RGB", (32, 32)).save(tmp_path / "1.jpg")
    if sys.platform == "win32":
        pytest.skip("Windows has no named pipes")
    os.mkfifo(tmp_path / "2.jpg")
    names, lines = list_with_report(tmp_path)
    assert names == ["1.jpg"]
    (line,) = lines
    assert line.endswith("skipped 1 file that is neither image nor video (1 .jpg)")


def test_an_empty_name_is_refused(list_with_report: ListWithReport) -> None:
    with pytest.raises(InputError, match="an empty name is no file or folder"):
        list_with_report("")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not delete the current folder")
def test_a_deleted_current_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, list_with_report: ListWithReport
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match=r"^a\.jpg: .* the current folder has been deleted"):
        list_with_report("a.jpg")


def test_many_kinds_of_skipped_files_are_summed_up(
    tmp_path: Path, list_with_report: ListWithReport
) -> None:
    Pillow.new("RGB", (32, 32)).save(tmp_path / "1.jpg")
    for number in range(9):
        (tmp_path / f"file.x{number}").touch()
    assert list_with_report(tmp_path)[1][0].endswith("4 others)")


def test_a_folder_of_images_reports_nothing(
    tmp_path: Path, list_with_report: ListWithReport
) -> None:
    Pillow.new("RGB", (32, 32)).save(tmp_path / "1.jpg")
    assert list_with_report(tmp_path, tmp_path / "*.jpg") == (["1.jpg"], [])


def test_one_skipped_file_is_reported_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Pillow.new("RGB", (32, 32)).save(tmp_path / "1.jpg")
    (tmp_path / "notes").touch()
    list_sources([str(tmp_path / "*")], StringIO())
    expected = "skipped 1 file that is neither image nor video (1 without extension)\n"
    assert capsys.readouterr().err == f"{tmp_path / '*'}: {expected}"


def test_folders_contain_images_and_videos_with_other_extensions(
    tmp_path: Path, list_with_report: ListWithReport
) -> None:
    write_video(tmp_path / "clip.mp4").rename(tmp_path / "clip")
    Pillow.new("RGB", (32, 32)).save(tmp_path / "photo.jfif", "JPEG")
    (tmp_path / "sound.m4a").write_bytes((tmp_path / "clip").read_bytes())
    names, lines = list_with_report(tmp_path)
    assert names == ["clip", "photo.jfif"]
    assert lines[0].endswith("(1 .m4a)")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_may_begin_with_a_byte_order_mark(encoding: str, end: str) -> None:
    content = f"ä b.jpg{end}{end}c.jpg".encode(encoding)
    sources = list_sources(["-"], TextIOWrapper(BytesIO(content), encoding="utf-8"))
    assert [source.origin for source in sources] == [Path("ä b.jpg"), Path("c.jpg")]


def test_a_list_that_contains_only_a_byte_order_mark_is_empty() -> None:
    with pytest.raises(InputError, match="standard input lists no file"):
        list_sources(["-"], StringIO("\ufeff\r\n"))


def test_a_list_in_utf_16_is_refused_with_the_encoding_that_is_expected() -> None:
    text = TextIOWrapper(BytesIO("a.jpg\r\n".encode("utf-16")), encoding="utf-8")
    with pytest.raises(InputError, match="encoded as UTF-8"):
        list_sources(["-"], text)


def test_addresses_have_names_without_password_or_query() -> None:
    addresses = [
        "https://me:secret@host.org:81/a%20b/c.jpg?token=secret",
        "https://host.org/c.jpg",
        "https://host.org/d/c.jpg",
        "http://host.org/d/c.jpg",
        "rtsp://me:secret@camera.local/",
        "HTTPS://host.org/..%2f..%2fetc%2fpasswd",
        "https://host.org/c.jpg",
    ]
    sources = list_sources(["-"], StringIO("\n".join(addresses)))
    assert [source.name for source in sources] == [
        "c-1359227d.jpg", "c.jpg", "d/c.jpg", "host.org/d/c.jpg", "camera.local",
        ".._.._etc_passwd",
    ]  # fmt: skip
    assert "secret" not in repr(sources) + "".join(str(source.origin) for source in sources)
    assert str(sources[0].origin) == "https://host.org:81/a%20b/c.jpg?…1359227d"
    assert [source.is_video for source in sources] == [False] * 4 + [True, True]


def test_names_of_addresses_are_unique() -> None:
    addresses = [f"{scheme}://host/a.jpg" for scheme in ("http", "https", "rtsp", "rtsps")]
    names = [source.name for source in list_sources(addresses, StringIO())]
    assert len({*names}) == 4
    assert all(name.endswith(".jpg") for name in names)


def test_names_of_addresses_are_possible_on_windows() -> None:
    names = {
        "https://host/aux.jpg": "aux_.jpg",
        "https://host/Com1": "Com1_",
        "https://host/console.jpg": "console.jpg",
        "https://host/a:b%3f.jpg": "a_b_.jpg",
        "https://host/clip.": "clip_",
        "https://host/clip%20": "clip_",
    }
    assert [source.name for source in list_sources([*names], StringIO())] == [
        *dict.fromkeys(names.values()), "host/clip_",
    ]  # fmt: skip


def test_names_that_differ_in_case_or_accents_only_get_different_names(tmp_path: Path) -> None:
    files = [tmp_path / "a" / "IMG_1.JPG", tmp_path / "b" / "img_1.jpg"]
    files += [tmp_path / "a" / "\u00e9.jpg", tmp_path / "b" / "e\u0301.jpg"]
    sources = list_sources([str(file) for file in files], StringIO())
    assert [source.name for source in sources] == [
        "IMG_1.JPG", "b/img_1.jpg", "\u00e9.jpg", "b/e\u0301.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "b.png"], ["a", "b"]),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a.jpg", "A.png"], ["a.jpg", "A.png"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg", "a.png", "a.jpg.png"]),
        (["a", "a.png", "b"], ["a", "a.png", "b"]),
        (["a/b.jpg", "c.d.jpg"], ["a/b", "c.d"]),
        (["..jpg", "b/...png", ".jpg"], ["..jpg", "b/...png", ".jpg"]),  # . and .. are folders
    ],
)
def test_outputs_of_different_files_have_different_names(
    names: list[str], expected: list[str]
) -> None:
    assert output_names(names) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ftp://host/a.jpg", "ftp:// is not supported; use a path or an address with http, https"),
        ("file:///etc/passwd", "file:// is not supported"),
        ("http://", "no valid host"),
        ("http://user:secret@:80/", "no valid host"),
        ("http://host:99999/", "no valid host or port"),
        ("http://[::1/", "no valid host"),
        ("http://user:secret@host/a b.jpg", "host/a b.jpg: spaces in an address must be %20"),
    ],
)
def test_invalid_addresses_are_refused_in_one_line(address: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        list_sources([address], StringIO())
    assert message in str(error.value)
    assert "secret" not in str(error.value) and "\n" not in error.value.args[0]


def test_a_source_with_an_address_can_be_created() -> None:
    assert Source("a", Url("http://host/a")).is_video
    assert not Source("a", Url("http://host/a.JPG")).is_video


def test_files_whose_names_are_not_utf_8_keep_different_names(
    tmp_path: Path, list_with_report: ListWithReport
) -> None:
    image = tmp_path / "image.png"
    Pillow.new("RGB", (32, 32)).save(image)
    folder = tmp_path / "in"
    folder.mkdir()
    for byte in (b"\xff", b"\xfe", b"\xfd"):
        shutil.copy(image, os.fsdecode(bytes(folder) + b"/" + byte + b".png"))
    names, _ = list_with_report(folder)
    assert len({*names}) == 3
