"""Finds the files that the file names in annotations denote.

Labeling tools write the paths of the machine on which they ran. A name and a file match if one of
them is the end of the other, folder by folder: `/home/me/set/images/1.png`, `images\\1.png` and
`1.png` match the file `1.png`, and `1.png` matches the file `default/1.png`. Upper and lower case,
composed and decomposed accents, URL encoding and query strings do not matter where no file matches
with them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from posixpath import normpath
from typing import Any
from unicodedata import normalize
from urllib.parse import parse_qsl, unquote, urlsplit

from higherhrnet.errors import InputError, require
from higherhrnet.io.images import IMAGE_EXTENSIONS

Parts = tuple[str, ...]
"""The folders and the file name of a path."""

_SPLIT = re.compile(r"(train|training|val|valid|validation|dev|test|testing)\d*")
"""Folders of parts of a dataset, whose images must not be confused."""
_MAX_LISTED = 5


def with_file_name(image: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an image entry of a COCO file, with the file name of `coco_url` if it has none."""
    url = image.get("coco_url")
    if image.get("file_name") or not isinstance(url, str):
        return dict(image)
    return {**image, "file_name": unquote(urlsplit(url).path.rpartition("/")[2])}


class NameIndex:
    """The files of a folder or .zip file, by the names that may denote them.

    Args:
        location: the folder or .zip file, for error messages.
        files: the paths of the files in it, with forward slashes.
        names: all file names of the dataset. Two of them never denote the same file.
    """

    def __init__(self, location: object, files: Iterable[str], names: Sequence[str] = ()) -> None:
        self.location = location
        self._files = _by_base_name((_parts(file), file) for file in files)
        self._names = _by_base_name((parts, name) for name in names for parts in _spellings(name))

    def find(self, name: str) -> str:
        """Returns the path of the only file that a name denotes.

        Raises:
            InputError: no file or several files match the name, or the file is that of another name
                in the dataset.
        """
        files = self._matches(name)
        if not files:
            raise InputError(self._missing(name))
        require(
            len(files) == 1,
            f"{self.location}/{name}: {len(files)} files match this name: {_listed(files)}; name "
            "the folder of the right ones as the folder of the images",
        )
        rivals = {rival for parts in _spellings(name) for _, rival in self._named_like(parts)}
        rivals = {rival for rival in rivals - {name} if self._matches(rival) == files}
        require(
            not rivals,
            f"{self.location}/{name}: only the file {files[0]} matches this name, and it also "
            f"matches {_listed(sorted(rivals))}; keep the folders of the annotated file names",
        )
        return files[0]

    def _named_like(self, parts: Parts) -> list[tuple[Parts, str]]:
        return self._names.get(_fold(parts[-1]), [])

    def _matches(self, name: str) -> list[str]:
        """Returns the files that the first spelling with any matches denotes."""
        for parts in _spellings(name):
            files = [
                (other, file)
                for other, file in self._candidates(parts[-1])
                if _agree(_folded(parts), _folded(other))
            ]
            exact = [(other, file) for other, file in files if _agree(parts, other)]
            if files:
                return sorted(file for _, file in exact or files)
        return []

    def _candidates(self, base_name: str) -> list[tuple[Parts, str]]:
        """Returns the files with a base name; for one without extension, images with that stem."""
        key = _fold(base_name)
        if key in self._files or key.endswith(IMAGE_EXTENSIONS):
            return self._files.get(key, [])
        found = (self._files.get(key + extension, []) for extension in IMAGE_EXTENSIONS)
        return [((*parts[:-1], base_name), file) for files in found for parts, file in files]

    def _missing(self, name: str) -> str:
        spellings = list(_spellings(name))
        tried = ["/".join(parts[i:]) for parts in spellings for i in range(len(parts))]
        elsewhere = sorted({f for parts in spellings for _, f in self._candidates(parts[-1])})
        stem = _fold(spellings[0][-1]).rpartition(".")[0] if spellings else ""
        others = [e for e in IMAGE_EXTENSIONS if stem and stem + e in self._files]
        hint = "name the folder of the images"
        if elsewhere:
            hint = f"there is {_listed(elsewhere)}; name its folder as the folder of the images"
        elif others:
            hint = f"there is {_listed([f for e in others for _, f in self._files[stem + e]])}"
        return (
            f"{self.location}/{name}: cannot be read: No such file; tried "
            f"{_listed(list(dict.fromkeys(tried)))}, in any case; {hint}"
        )


def _by_base_name(items: Iterable[tuple[Parts, str]]) -> dict[str, list[tuple[Parts, str]]]:
    groups: dict[str, list[tuple[Parts, str]]] = defaultdict(list)
    for parts, text in items:
        if parts:
            groups[_fold(parts[-1])].append((parts, text))
    return dict(groups)


def _spellings(name: str) -> Iterator[Parts]:
    """Yields the parts of a name as it is written, then without URL encoding and query string."""
    text = name.strip()
    path, _, query = text.partition("?")
    if "://" in text:
        path = urlsplit(text).path
    elif "=" not in query:
        path = text
    values = [value for _, value in parse_qsl(query)]  # Label Studio: /data/local-files/?d=1.png
    for parts in dict.fromkeys(map(_parts, (text, path, unquote(path), *values))):
        if parts:
            yield parts


def _parts(path: str) -> Parts:
    """Splits a path at slashes and backslashes, without the root and leading `..`."""
    parts = normpath(path.replace("\\", "/")).split("/")
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _fold(part: str) -> str:
    return normalize("NFC", part).casefold()


def _folded(parts: Parts) -> Parts:
    return tuple(map(_fold, parts))


def _agree(name: Parts, file: Parts) -> bool:
    """Returns whether one path is the end of the other, without a change to another split."""
    count = min(len(name), len(file))
    extra = () if len(file) == count else file[:-count]
    return name[-count:] == file[-count:] and not any(_SPLIT.fullmatch(p.lower()) for p in extra)


def _listed(items: Sequence[str]) -> str:
    more = [f"and {len(items) - _MAX_LISTED} more"] if len(items) > _MAX_LISTED else []
    return ", ".join([*items[:_MAX_LISTED], *more])
