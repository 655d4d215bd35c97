"""Finds the folder or .zip file of a dataset's images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice, product
from os.path import commonpath
from pathlib import Path

from higherhrnet.errors import InputError, reading
from higherhrnet.io.datasets.image_store import ImageStore
from higherhrnet.io.images import IMAGE_EXTENSIONS

_SAMPLE_SIZE = 3
"""The number of file names by which the images are recognized."""


def find_images(annotations: Path, file_names: Sequence[str] = (), flag: str | None = None) -> Path:
    """Finds the images of an annotation file where published datasets have them.

    The images of `annotations/person_keypoints_train2017.json` are in `train2017` or
    `images/train2017`; those of `json/crowdpose_train.json` and `annotations.json` are in `images`,
    or in `data` beside the annotation file. Instead of the folder there may be a .zip file of that
    name. The images may also be beside the annotation file, and their names may be absolute or
    relative to the folder of the annotation file or the folder above it.

    Args:
        annotations: the path of the annotation file.
        file_names: the annotated file names of the images. Of several places, the first one that
            contains one of the first three images is chosen.
        flag: the flag that gives the location of the images, for the error message (default: it is
            appended to the path of the annotations).

    Returns:
        The folder or .zip file.

    Raises:
        InputError: the images are in none of these places.
    """
    folder = annotations.parent
    # The outer folder is the second choice, since it may contain other datasets.
    roots = folder, folder / ".." if folder.name in ("", "..") else folder.parent
    choices = [*product(_folder_names(annotations), roots), ("data", folder)]
    listings: dict[Path, list[Path]] = {}
    with reading(folder):
        places = [place for name, root in choices for place in _existing(root, name, listings)]
        if any(path.suffix.lower() in IMAGE_EXTENSIONS for path in folder.glob("*")):
            places.append(folder)
    names = list(file_names[:_SAMPLE_SIZE])
    if names and [place.suffix for place in places] != [".zip"]:  # opening an archive takes time
        places[:0] = islice(_containing(places, roots, names), 1)
    if places:
        return places[0]
    tried = ", ".join(str(root / name) for name, root in choices)
    raise InputError(
        f"{annotations}: no images in {tried} (or a .zip file of that name); "
        + (f"give their location as {flag}" if flag else f"append it: {annotations},IMAGES")
    )


def _folder_names(annotations: Path) -> tuple[str, ...]:
    split = annotations.stem.rpartition("_")[2]
    if split in ("annotations", "", ".", ".."):
        return ("images",)
    return split, f"images/{split}", "images"


def _existing(root: Path, folder: str, listings: dict[Path, list[Path]]) -> Iterator[Path]:
    """Yields a folder if it exists, and then the .zip file of its name, both in any case.

    Args:
        root: the folder that contains it.
        folder: its path relative to the root.
        listings: the content of folders that have been listed, which is extended.
    """

    def children(parents: list[Path], name: str) -> list[Path]:
        for parent in parents:
            if parent not in listings:
                listings[parent] = []
                with suppress(OSError):  # not a folder, or not readable
                    listings[parent] = sorted(parent.iterdir())
        found = [path for parent in parents for path in listings[parent]]
        same = [path for path in found if path.name.casefold() == name.casefold()]
        return sorted(same, key=lambda path: path.name != name)

    parents, (*outer, name) = [root], folder.split("/")
    for part in outer:
        parents = children(parents, part)
    yield from (path for path in children(parents, name) if path.is_dir())
    yield from (path for path in children(parents, f"{name}.zip") if path.is_file())


def _containing(
    places: Sequence[Path], roots: Sequence[Path], names: Sequence[str]
) -> Iterator[Path]:
    """Yields the places that contain one of the images, those with its exact path first."""
    absolute = all(Path(name).is_absolute() and Path(name).is_file() for name in names)
    common = [Path(commonpath([Path(name).parent for name in names]))] if absolute else []
    searched = []
    for place in (*places, *roots, *common):
        with suppress(InputError):  # an archive that is damaged or still being downloaded
            store = ImageStore(place)
            if any(store.contains(name, exact=True) for name in names):
                yield place
            if place in places:
                searched.append(store)
    yield from (store.location for store in searched if any(map(store.contains, names)))
