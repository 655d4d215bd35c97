"""File names of annotations are resolved to the right file, or are an error that lists the files.

Every image has a color of its own, so that a wrong file is noticed.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from unicodedata import normalize
from zipfile import ZipFile

import pytest
from PIL import Image as Pillow

from higherhrnet.errors import InputError
from higherhrnet.io.datasets.image_names import with_file_name
from higherhrnet.io.datasets.image_store import ImageStore


def make(folder: Path, *files: str) -> Path:
    """Creates images in a folder; the red value of each is ten times its number."""
    for number, file in enumerate(files, 1):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.new("RGB", (32, 24), (10 * number, 0, 0)).save(path, "png")
    return folder


def packed(folder: Path) -> Path:
    """Packs a folder into a .zip file beside it."""
    path = folder.with_name(folder.name + ".zip")
    with ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    return path


def number_of(store: ImageStore, name: str) -> int:
    """The number of the image that a name denotes."""
    return int(store.read(name)[0, 0, 0]) // 10


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize(
    ("files", "name", "number"),
    [
        (["1.png", "2.png"], "images/2.png", 2),
        (["1.png", "2.png"], "./images//2.png", 2),
        (["1.png", "2.png"], "images\\2.png", 2),
        (["1.png", "2.png"], "..\\..\\label-studio\\data\\media\\upload\\3\\2.png", 2),
        (["1.png", "2.png"], "../../2.png", 2),
        (["1.png", "2.png"], "default/2.png", 2),
        (["1.png", "2.png"], "/home/somebody/set/images/2.png", 2),
        (["1.png", "2.png"], "C:\\Users\\somebody\\set\\2.png", 2),
        (["1.png", "2.png"], "\\\\server\\share\\2.png", 2),
        (["1.png", "2.png"], "2.PNG", 2),
        (["1.PNG", "Two.Png"], "two.png", 2),
        (["1.png", "2.png"], " 2.png\n", 2),
        (["1.png", "2.png"], "2", 2),
        (["1.png", "deep/2.png"], "2.png", 2),
        (["default/1.png", "default/2.png"], "2.png", 2),
        (["a/1.png", "b/1.png"], "/mnt/set/b/1.png", 2),
        (["a/1.png", "b/1.png"], "set\\B\\1.png", 2),
        (["train/1.png", "val/1.png"], "images/val/1.png", 2),
        ([f"{normalize('NFC', 'é')}.png", "2.png"], normalize("NFD", "é") + ".png", 1),
        ([f"{normalize('NFD', 'é')}.png", "2.png"], normalize("NFC", "é") + ".png", 1),
        (["a b.png", "ü.png"], "a%20b.png", 1),
        (["a b.png", "ü.png"], "upload/%C3%BC.png", 2),
        (["a%20b.png", "a b.png"], "images/a%20b.png", 1),
        (["1.png", "2.png"], "https://bucket.s3.amazonaws.com/set/2.png?X-Amz-Date=1&e=2", 2),
        (["1.png", "2.png"], "s3://bucket/set/2.png", 2),
        (["1.png", "2.png"], "file:///home/somebody/2.png", 2),
        (["1.png", "2.png"], "/data/local-files/?d=set%2F2.png", 2),
        (["1.png", "2.png"], "2.png?width=640", 2),
        (["1.png", "a?b.png"], "images/a?b.png", 2),
        (["1.png", "a#2.png"], "images/a#2.png", 2),
        (["1.png", "1.PNG"], "x/1.PNG", 2),
    ],
)
def test_a_name_denotes_the_file_that_matches_the_end_of_its_path(
    tmp_path: Path, files: list[str], name: str, number: int, archive: bool
) -> None:
    folder = make(tmp_path / "set", *files)
    store = ImageStore(packed(folder) if archive else folder, [name])
    assert number_of(store, name) == number
    assert number_of(pickle.loads(pickle.dumps(store)), name) == number


@pytest.mark.parametrize(
    ("files", "name", "listed"),
    [
        (["a/1.png", "b/1.png"], "1.png", "2 files match this name: a/1.png, b/1.png"),
        (["a/1.png", "b/1.png"], "1.PNG", "a/1.png, b/1.png"),
        (["1.png", "1.jpg"], "1", "1.jpg, 1.png"),
        (["a/1.png", "b/1.png"], "c/1.png", "tried c/1.png, 1.png.*there is a/1.png, b/1.png"),
        (["train/1.png"], "1.png", "there is train/1.png"),
        (["train/1.png"], "val/1.png", "there is train/1.png"),
        (["1.jpg"], "images\\1.png", "tried images/1.png, 1.png.*there is 1.jpg"),
        (["1.png"], "/etc/passwd", "tried etc/passwd, passwd"),
        (["1.png"], "../secret.png", "tried secret.png"),
        (["1.png"], "..", "No such file"),
        (["1.png"], "img#1.png", "No such file"),
        (["1.png"], "\0", "No such file"),
        (["1.png"], "x" * 5000, "cannot be read"),
        ([f"{n}/1.png" for n in "abcdefgh"], "1.png", "8 files .* e/1.png, and 3 more"),
    ],
)
def test_other_names_are_errors_that_list_what_was_found(
    tmp_path: Path, files: list[str], name: str, listed: str
) -> None:
    make(tmp_path, "secret.png")
    store = ImageStore(make(tmp_path / "set", *files))
    with pytest.raises(InputError, match=listed) as error:
        store.read(name)
    assert "\n" not in error.value.args[0]


def test_no_file_outside_of_the_folder_is_read(tmp_path: Path) -> None:
    outside = make(tmp_path, "secret.png") / "secret.png"
    store = ImageStore(make(tmp_path / "set", "1.png", "2.png"))
    for name in (str(outside), "../secret.png", "a/../../secret.png"):
        with pytest.raises(InputError, match="No such file"):
            store.read(name)
    assert number_of(store, "../set/2.png") == 2
    assert number_of(store, str(tmp_path / "set" / "2.png")) == 2
    assert number_of(store, "other/../2.png") == 2


@pytest.mark.parametrize("names", [["cam1/1.png", "cam2/1.png"], ["1.png", "cam2/1.png"]])
def test_two_names_never_denote_the_same_file(tmp_path: Path, names: list[str]) -> None:
    store = ImageStore(make(tmp_path, "1.png", "2.png"), names)
    with pytest.raises(InputError, match=r"only the file 1\.png .* also matches .*1\.png"):
        store.read("cam2/1.png")


def test_a_file_in_a_linked_folder_is_found(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "1.png", "2.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    assert number_of(ImageStore(tmp_path / "set"), "images/link/2.png") == 2


def test_files_of_archives_may_have_backslashes_and_unmarked_utf8(tmp_path: Path) -> None:
    make(tmp_path, "1.png", "2.png", "3.png")
    path, name = tmp_path / "set.zip", "images\\b\\ü.png"
    with ZipFile(path, "w") as archive:
        archive.write(tmp_path / "1.png", "images\\a\\1.png")
        archive.write(tmp_path / "2.png", "images\\b\\1.png")
        archive.write(tmp_path / "3.png", name)
    content = bytearray(path.read_bytes())
    for position, flags in ((content.find, 6 - 30), (content.rfind, 8 - 46)):
        content[position(name.encode()) + flags + 1] = 0  # clears the flag of UTF-8
    path.write_bytes(content)
    store = ImageStore(path)
    assert [number_of(store, name) for name in ("a/1.png", "images/b/1.png")] == [1, 2]
    assert [number_of(store, name) for name in ("b/ü.png", "images\\b\\ü.png")] == [3, 3]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({"coco_url": "http://images.cocodataset.org/val2017/0139.jpg"}, "0139.jpg"),
        ({"coco_url": "http://x/a%20b.jpg?c=1", "file_name": None}, "a b.jpg"),
        ({"coco_url": "http://x/1.jpg", "file_name": "2.jpg"}, "2.jpg"),
        ({"coco_url": 5}, None),
        ({}, None),
    ],
)
def test_the_url_gives_the_name_of_an_image_without_one(
    image: dict[str, object], name: str | None
) -> None:
    assert with_file_name(image).get("file_name") == name
