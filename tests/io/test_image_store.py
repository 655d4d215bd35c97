"""Pictures out of folders and archives, wherever published data sets have them."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
from PIL import Image as Pillow

from higherhrnet.errors import InputError
from higherhrnet.io.image_store import ImageStore, find_images

NAMES = [f"{number:03}.png" for number in range(20)]


def shade(name: str) -> int:
    return 10 * int(name[:3]) + 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of pictures, each of one shade."""
    (tmp_path / "train").mkdir()
    for name in NAMES:
        Pillow.new("RGB", (32, 24), (shade(name), 0, 255)).save(tmp_path / "train" / name)
    return tmp_path / "train"


def archive(folder: Path, inside: str = "", packing: int = ZIP_STORED) -> Path:
    path = folder.with_suffix(".zip")
    with ZipFile(path, "w", packing) as file:
        for name in NAMES:
            file.write(folder / name, f"{inside}{name}")
        file.writestr("__MACOSX/._001.png", b"what another system leaves behind")
        file.writestr("readme.txt", b"about the pictures")
    return path


def is_right(pictures: ImageStore, name: str) -> bool:
    image = pictures.read(name)
    return image.shape == (24, 32, 3) and bool((image == (shade(name), 0, 255)).all())


def wrong(pictures: ImageStore) -> list[str]:
    return [name for name in NAMES if not is_right(pictures, name)]


def test_folders(folder: Path) -> None:
    assert wrong(ImageStore(folder)) == []
    assert (ImageStore(folder.parent).read("train/003.png")[..., 0] == shade("003.png")).all()


@pytest.mark.parametrize("packing", [ZIP_STORED, ZIP_DEFLATED])
@pytest.mark.parametrize("inside", ["", "train/", "images/train/"])
def test_archives(folder: Path, inside: str, packing: int) -> None:
    pictures = ImageStore(archive(folder, inside, packing))
    assert wrong(pictures) == []
    assert (pictures.read(f"{inside}003.png")[..., 0] == shade("003.png")).all()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_and_threads_share_an_archive(folder: Path, method: str) -> None:
    pictures = ImageStore(archive(folder))
    assert pickle.loads(pickle.dumps(pictures)).read("001.png").shape == (24, 32, 3)
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(is_right, [pictures] * 200, NAMES * 10))
    with multiprocessing.get_context(method).Pool(2) as processes:
        assert processes.map(wrong, [pictures] * 4) == [[]] * 4


def test_exif_is_ignored(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # a quarter turn
    Pillow.new("RGB", (32, 24)).save(tmp_path / "turned.jpg", exif=exif)
    assert ImageStore(tmp_path).read("turned.jpg").shape == (24, 32, 3)


def test_errors_name_the_picture_and_its_place(folder: Path) -> None:
    for pictures in (ImageStore(folder), ImageStore(archive(folder))):
        with pytest.raises(InputError, match=f"^{pictures.location}/none.png: ") as missing:
            pictures.read("none.png")
        assert "\n" not in str(missing.value)
    with pytest.raises(InputError, match=r"away\.zip: no such folder or \.zip"):
        ImageStore(folder / "away.zip")
    (folder / "not.zip").write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"not\.zip: cannot be read as a \.zip"):
        ImageStore(folder / "not.zip")


@pytest.mark.parametrize("packing", [ZIP_STORED, ZIP_DEFLATED])
def test_a_damaged_archive_is_told_from_a_damaged_picture(folder: Path, packing: int) -> None:
    path = archive(folder, packing=packing)
    data = bytearray(path.read_bytes())
    at = data.index(b"000.png") + 20
    data[at : at + 8] = b"scribble"
    path.write_bytes(data)
    pictures = ImageStore(path)
    with pytest.raises(InputError, match=r"train\.zip/000\.png: damaged in the archive"):
        pictures.read("000.png")
    assert is_right(pictures, "001.png")
    (folder / "004.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"train\.zip/004\.png: .*not a picture"):
        ImageStore(archive(folder)).read("004.png")


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [
        ("annotations/person_keypoints_train2017.json", "train2017"),
        ("annotations/person_keypoints_train2017.json", "images/train2017"),
        ("annotations/person_keypoints_train2017.json", "train2017.zip"),
        ("annotations/person_keypoints_train2017.json", "images/train2017.zip"),
        ("json/crowdpose_train.json", "images"),
        ("json/crowdpose_train.json", "images.zip"),
        ("annotations.json", "images"),
        ("person_keypoints_val2017.json", "val2017"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_pictures_are_found_where_they_are_published(
    tmp_path: Path, annotations: str, pictures: str
) -> None:
    place, file = tmp_path / "set" / pictures, tmp_path / "set" / annotations
    file.parent.mkdir(parents=True)
    with pytest.raises(InputError, match=r"no pictures in .*images.*,PICTURES$"):
        find_images(file)
    place.parent.mkdir(exist_ok=True)
    if place.suffix == ".zip":
        ZipFile(place, "w").close()
    else:
        place.mkdir(exist_ok=True)
        Pillow.new("RGB", (32, 24)).save(place / "001.jpg")
    assert find_images(file) == place


def test_the_nearest_pictures_are_taken(tmp_path: Path) -> None:
    """A folder of annotations is not one of pictures, nor are another set's one's own."""
    for folder in ("images", "one/images", "one/annotations", "one/images/val"):
        (tmp_path / folder).mkdir(parents=True)
    assert find_images(tmp_path / "one/annotations.json") == tmp_path / "one/images"
    assert find_images(tmp_path / "one/annotations/annotations.json") == tmp_path / "one/images"
    assert find_images(tmp_path / "one/annotations/a_val.json") == tmp_path / "one/images/val"
