"""Images are read from folders and .zip files, wherever published datasets have them."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
from PIL import Image as Pillow

from higherhrnet.errors import InputError
from higherhrnet.io.datasets.image_folder import find_images
from higherhrnet.io.datasets.image_store import ImageStore

NAMES = [f"{number:03}.png" for number in range(20)]


def red_value(name: str) -> int:
    return 10 * int(name[:3]) + 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images, each of one color."""
    (tmp_path / "train").mkdir()
    for name in NAMES:
        Pillow.new("RGB", (32, 24), (red_value(name), 0, 255)).save(tmp_path / "train" / name)
    return tmp_path / "train"


def archive(folder: Path, inside: str = "", compression: int = ZIP_STORED) -> Path:
    """Writes the images of a folder into a .zip file with the same name."""
    path = folder.with_suffix(".zip")
    with ZipFile(path, "w", compression) as file:
        for name in NAMES:
            file.write(folder / name, f"{inside}{name}")
        file.writestr("__MACOSX/._001.png", b"metadata that macOS adds")
        file.writestr("readme.txt", b"about the images")
    return path


def reads_correctly(store: ImageStore, name: str) -> bool:
    image = store.read(name)
    return image.shape == (24, 32, 3) and bool((image == (red_value(name), 0, 255)).all())


def wrong_images(store: ImageStore) -> list[str]:
    return [name for name in NAMES if not reads_correctly(store, name)]


def test_reads_from_a_folder(folder: Path) -> None:
    assert wrong_images(ImageStore(folder)) == []
    assert (ImageStore(folder.parent).read("train/003.png")[..., 0] == red_value("003.png")).all()


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
@pytest.mark.parametrize("inside", ["", "train/", "images/train/"])
def test_reads_from_an_archive(folder: Path, inside: str, compression: int) -> None:
    store = ImageStore(archive(folder, inside, compression))
    assert wrong_images(store) == []
    assert (store.read(f"{inside}003.png")[..., 0] == red_value("003.png")).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_and_threads_share_an_archive(folder: Path, method: str) -> None:
    store = ImageStore(archive(folder))
    assert pickle.loads(pickle.dumps(store)).read("001.png").shape == (24, 32, 3)
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(reads_correctly, [store] * 200, NAMES * 10))
    with multiprocessing.get_context(method).Pool(2) as processes:
        assert processes.map(wrong_images, [store] * 4) == [[]] * 4


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # a quarter turn
    Pillow.new("RGB", (32, 24)).save(tmp_path / "rotated.jpg", exif=exif)
    assert ImageStore(tmp_path).read("rotated.jpg").shape == (24, 32, 3)


def test_errors_name_the_image_and_its_location(folder: Path) -> None:
    for store in (ImageStore(folder), ImageStore(archive(folder))):
        with pytest.raises(InputError, match=f"^{store.location}/none.png: ") as error:
            store.read("none.png")
        assert "\n" not in error.value.args[0]


def test_a_missing_archive_is_rejected(folder: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.zip: no such folder or \.zip file"):
        ImageStore(folder / "missing.zip")


def test_a_file_of_another_format_is_rejected(folder: Path) -> None:
    (folder / "not.zip").write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"not\.zip: cannot be read as a \.zip file"):
        ImageStore(folder / "not.zip")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({6: b"\xff"}, "cannot be read as a .zip file"),  # the version of the format
        ({8: b"\x01"}, "encrypted"),
        ({10: b"\x0c"}, "compression other than deflate"),  # bzip2
        ({42: b"\xff\xff\xff\xff"}, "damaged|cannot be read"),  # the offset of the image
        ({9: b"\x08", 46: b"\xff"}, "cannot be read|no such file"),  # a name that is not UTF-8
        ({46: b"/"}, "damaged"),  # an absolute path
    ],
)
def test_an_archive_with_an_invalid_directory_is_rejected(
    folder: Path, changes: dict[int, bytes], message: str
) -> None:
    path = archive(folder)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")  # the directory's entry of the first image
    for offset, data in changes.items():
        content[entry + offset : entry + offset + len(data)] = data
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        ImageStore(path).read("000.png")
    assert "\n" not in error.value.args[0]


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
def test_a_damaged_archive_is_distinguished_from_a_damaged_image(
    folder: Path, compression: int
) -> None:
    path = archive(folder, compression=compression)
    data = bytearray(path.read_bytes())
    start = data.index(b"000.png") + 20
    data[start : start + 8] = b"scribble"
    path.write_bytes(data)
    store = ImageStore(path)
    with pytest.raises(InputError, match=r"train\.zip/000\.png: damaged in the \.zip file"):
        store.read("000.png")
    assert reads_correctly(store, "001.png")
    (folder / "004.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"train\.zip/004\.png: not an image"):
        ImageStore(archive(folder)).read("004.png")


@pytest.mark.parametrize(
    ("annotations", "images"),
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
def test_images_are_found_where_datasets_have_them(
    tmp_path: Path, annotations: str, images: str
) -> None:
    location, file = tmp_path / "set" / images, tmp_path / "set" / annotations
    file.parent.mkdir(parents=True)
    with pytest.raises(InputError, match=r"no images in .*images.*,IMAGES$"):
        find_images(file)
    with pytest.raises(InputError, match=r"no images in .*; give their location as --images$"):
        find_images(file, flag="--images")
    location.parent.mkdir(exist_ok=True)
    if location.suffix == ".zip":
        ZipFile(location, "w").close()
    else:
        location.mkdir(exist_ok=True)
        Pillow.new("RGB", (32, 24)).save(location / "001.jpg")
    assert find_images(file) == location


def test_the_nearest_images_are_chosen(tmp_path: Path) -> None:
    """Neither a folder of annotations nor the images of another dataset are chosen."""
    for folder in ("images", "one/images", "one/annotations", "one/images/val"):
        (tmp_path / folder).mkdir(parents=True)
    assert find_images(tmp_path / "one/annotations.json") == tmp_path / "one/images"
    assert find_images(tmp_path / "one/annotations/annotations.json") == tmp_path / "one/images"
    assert find_images(tmp_path / "one/annotations/a_val.json") == tmp_path / "one/images/val"


@pytest.mark.parametrize(
    ("files", "annotations", "name", "location"),
    [
        (["frames/a/1.png", "images/2.png"], "list.json", "frames/a/1.png", ""),
        (["frames/a/1.png", "images/2.png"], "annotations/list.json", "frames/a/1.png", ""),
        (["images/1.png", "train/2.png"], "train/_annotations.coco.json", "2.png", "train"),
        (["images/default/1.png"], "annotations/person_keypoints_default.json", "1.png", None),
        (["images/1.png"], "annotations/instances_default.json", "default/1.png", "images"),
        (["images/1.png"], "result.json", "images\\1.png", "images"),
        (["images/1.png"], "result.json", "..\\..\\label-studio\\upload\\2\\1.png", "images"),
        (["data/1.png"], "labels.json", "1.png", "data"),
        (["images/val/1.png", "val/2.png"], "person_val.json", "2.png", "val"),
        (["images/val/2.png", "val/1.png"], "person_val.json", "2.png", "images/val"),
        (["images/9.png"], "a.json", "1.png", "images"),
        (["images/1.png"], "L_.json", "1.png", "images"),
        (["Images/Val/1.png", "IMAGES.ZIP"], "a_val.json", "1.png", "Images/Val"),
        (["images/1.png"], "a_..json", "1.png", "images"),
    ],
)
def test_the_place_that_contains_the_named_images_is_chosen(
    tmp_path: Path, files: list[str], annotations: str, name: str, location: str | None
) -> None:
    for file in (*files, annotations):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    expected = tmp_path / (location if location is not None else str(Path(files[0]).parent))
    assert find_images(tmp_path / annotations, ["missing.png", name]) == expected


def test_the_outer_folder_of_the_working_folder_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("annotations/deep", "val"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "annotations")
    assert find_images(Path("a_val.json")).resolve() == tmp_path / "val"
    monkeypatch.chdir(tmp_path / "annotations" / "deep")
    assert find_images(Path("../a_val.json")).resolve() == tmp_path / "val"


def test_absolute_names_of_this_machine_are_found_if_no_other_place_has_them(
    tmp_path: Path,
) -> None:
    for file in ("pictures/a/1.png", "pictures/b/2.png", "set/images/3.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "set" / "deep").mkdir()
    names = [str(tmp_path / "pictures/a/1.png"), str(tmp_path / "pictures/b/2.png")]
    assert find_images(tmp_path / "set" / "deep" / "a.json", names) == tmp_path / "pictures"
    names[0] = names[0].replace("1.png", "3.png")
    assert find_images(tmp_path / "set" / "deep" / "a.json", names) == tmp_path / "set" / "images"


def test_a_file_of_an_archive_is_not_larger_than_listed(folder: Path) -> None:
    path = folder.with_suffix(".zip")
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        file.writestr("000.png", b"\0" * 10_000_000)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"000\.png: damaged in the \.zip file"):
        ImageStore(path).read("000.png")
    content[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"000\.png: has 2,147,483,648 bytes, more than"):
        ImageStore(path).read("000.png")
