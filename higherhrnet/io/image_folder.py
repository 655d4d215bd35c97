"""Finds the folder or .zip file of a dataset's images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from os.path import commonpath
from pathlib import Path

from higherhrnet.errors import InputError, reading
from higherhrnet.io.image_store import ImageStore
from higherhrnet.io.images import IMAGE_EXTENSIONS

_SAMPLE_SIZE = 3
"""The number of file names by which the images are recognized."""


def find_images(annotations: Path, file_names: Sequence[str] = ()) -> Path:
    """Finds the images of an annotation file where published datasets have them.

    The images of `annotations/person_keypoints_train2017.json` are in `train2017` or
    `images/train2017`; those of `json/crowdpose_train.json` and `annotations.json` are in `images`
    or `data`. Instead of the folder there may be a .zip file of that name. The images may also be
    beside the annotation file, and their names may be absolute or relative to the folder of the
    annotation file or the folder above it.

    Args:
        annotations: the path of the annotation file.
        file_names: the annotated file names of the images. Of several places, the first one that
            contains one of the first three images is chosen.

    Returns:
        The folder or .zip file.

    Raises:
        InputError: the images are in none of these places.
    """
    # The outer folder is the second choice, since it may contain other datasets.
    roots = annotations.parent, annotations.parent.parent
    folders = [root / name for name, root in product(_folder_names(annotations), roots)]
    with reading(annotations.parent):
        places = [place for folder in folders for place in _existing(folder)]
        if any(path.suffix.lower() in IMAGE_EXTENSIONS for path in annotations.parent.glob("*")):
            places.append(annotations.parent)
    names = list(file_names[:_SAMPLE_SIZE])
    if names and [place.suffix for place in places] != [".zip"]:  # opening an archive takes time
        places = [*_containing(places, roots, names), *places]
    if places:
        return places[0]
    raise InputError(
        f"{annotations}: no images in {', '.join(map(str, folders))} (or a .zip file of that "
        f"name); append their location: {annotations},IMAGES"
    )


def _folder_names(annotations: Path) -> tuple[str, ...]:
    split = annotations.stem.rpartition("_")[2]
    if split in ("annotations", "", ".", ".."):
        return "images", "data"
    return split, f"images/{split}", "images", f"data/{split}", "data"


def _existing(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield folder
    if (archive := folder.with_name(folder.name + ".zip")).is_file():
        yield archive


def _containing(
    places: Sequence[Path], roots: Sequence[Path], names: Sequence[str]
) -> Iterator[Path]:
    """Yields the places that contain one of the images, those with its exact path first."""
    stores = [ImageStore(place) for place in places]
    exact = [*stores, *map(ImageStore, roots)]
    if all(Path(name).is_file() and Path(name).is_absolute() for name in names):
        exact.append(ImageStore(Path(commonpath([Path(name).parent for name in names]))))
    yield from (s.location for s in exact if any(s.contains(n, exact=True) for n in names))
    yield from (s.location for s in stores if any(s.contains(name) for name in names))
