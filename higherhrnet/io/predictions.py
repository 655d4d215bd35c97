"""Writes predictions into a folder while they are made, and resumes an earlier run.

`predictions.jsonl` grows by one line per image or frame, so that an interrupted run can be resumed.
At the end of a run, `predictions.json`, a list of COCO results, and on request `predictions.csv`
are made from it. `settings.json` contains the settings that the predictions were made with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, TextIO

from higherhrnet.errors import InputError
from higherhrnet.io.addresses import Url
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.csv import write_csv
from higherhrnet.io.json_files import write_json_list
from higherhrnet.io.listing import name_key, unique_name
from higherhrnet.io.sources import Frame, Source
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton

JSONL_FILE, RESULTS_FILE, CSV_FILE = "predictions.jsonl", "predictions.json", "predictions.csv"
SETTINGS_FILE = "settings.json"


class PredictionWriter:
    """Writes the predictions of a run into a folder.

    It is a context manager, which writes `predictions.json` and `predictions.csv` on exit.

    Args:
        folder: the output folder; created if it is missing.
        settings: everything that influences the predictions, as plain JSON values; written to
            `settings.json`. Predictions of other settings are not resumed.
        resume: keep the predictions in the folder and add to them. By default, the first new
            prediction replaces them.
        write_results: whether to write `predictions.json`.
        csv_skeleton: write `predictions.csv` with the keypoints of this skeleton; default: no CSV.

    Raises:
        InputError: the folder cannot be written to, or its predictions were made with other
            settings.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        write_results: bool = True,
        csv_skeleton: Skeleton | None = None,
    ) -> None:
        self.folder, self.write_results, self.csv_skeleton = folder, write_results, csv_skeleton
        self._settings = json.dumps(settings, indent=1) + "\n"
        self._file_names: dict[int | str, str] = {}  # by image ID
        self._names: dict[str, str] = {}  # of the sources that are finished, by path
        self._file: TextIO | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()  # fails now instead of after the first image
            if resume:
                self._check_settings()
                self._start(list(self._complete_lines()))
        except OSError as error:
            raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
            if self.write_results:
                self._write_results()
            if self.csv_skeleton:
                write_csv(self.folder / CSV_FILE, self.results(), self.csv_skeleton)

    def with_recorded_names(self, sources: Sequence[Source]) -> list[Source]:
        """Renames sources, so that their names are unique among those of the resumed run, too.

        A source that the resumed run had finished keeps the name that it had there. The name of
        another one is preceded by parent folders if the resumed run used it for another file.

        Args:
            sources: sources with unique names.
        """
        finished = set(map(name_key, self._names.values()))
        new = (source.name for source in sources if source_path(source) not in self._names)
        taken = finished | set(map(name_key, new))
        renamed = []
        for source in sources:
            name = self._names.get(source_path(source))
            if name is None and name_key(source.name) in finished:
                name = unique_name(source.name, source_path(source), taken)
                taken.add(name_key(name))
            renamed.append(source if name is None else replace(source, name=name))
        return renamed

    def contains(self, source: Source) -> bool:
        """Returns whether the resumed run had finished a source, which its path identifies."""
        return source_path(source) in self._names

    @property
    def finished_names(self) -> set[str]:
        """The names of the sources that the resumed run had finished."""
        return set(self._names.values())

    def add(self, frame: Frame, poses: Poses) -> None:
        """Writes the poses of one image or frame.

        Raises:
            InputError: the file cannot be written.
        """
        name = frame.source.name
        metadata: dict[str, Any] = {"file_name": name}
        path = source_path(frame.source)
        if frame.index is not None:
            metadata |= {"frame": frame.index, "time": frame.time}
        identifier = image_id(name)
        if self._file_names.setdefault(identifier, name) != name:  # a/1.png and b/1.png
            identifier = name
        results = poses.to_coco(identifier, **metadata)
        height, width = frame.image.shape[:2]
        entry = {"image_id": identifier, **metadata, "width": width, "height": height}
        self._write({**entry, "path": path, "people": results})

    def mark_finished(self, source: Source) -> None:
        """Records that all frames of a video have been predicted.

        Raises:
            InputError: the file cannot be written.
        """
        path = source_path(source)
        self._write({"file_name": source.name, "path": path, "finished": True})

    def results(self) -> Iterator[dict[str, Any]]:
        """Yields the COCO results of this run and of the run that it resumes."""
        for line in _lines(self.folder / JSONL_FILE) if self._file else ():
            yield from json.loads(line).get("people", ())

    def _write(self, entry: dict[str, Any]) -> None:
        try:
            file = self._file or self._start([])  # earlier predictions are kept until now
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written to: {error.strerror}") from error

    def _check_settings(self) -> None:
        if not (self.folder / JSONL_FILE).is_file():
            return
        before, now = _read_settings(self.folder / SETTINGS_FILE), json.loads(self._settings)
        changed = [key for key in before | now if before.get(key) != now.get(key)]
        if changed:
            raise InputError(
                f"{self.folder}: --resume is not possible, since its predictions were made with "
                f"other settings ({', '.join(changed)}); use the same settings, omit --resume to "
                "replace the predictions, or choose another folder"
            )

    def _start(self, lines: list[str]) -> TextIO:
        """Opens the JSONL file with these lines and removes the files made from earlier ones."""
        for derived in (self.folder / RESULTS_FILE, self.folder / CSV_FILE):
            try:
                derived.unlink(missing_ok=True)
            except OSError as error:  # on Windows, a spreadsheet program locks the file
                raise InputError(
                    f"{derived}: cannot be replaced: {error.strerror}; close the program that uses "
                    "it, or choose another folder"
                ) from error
        with atomic_path(self.folder / SETTINGS_FILE) as temporary:
            temporary.write_text(self._settings, encoding="utf-8")
        with atomic_path(self.folder / JSONL_FILE) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
        self._file = (self.folder / JSONL_FILE).open("a", encoding="utf-8")
        return self._file

    def _complete_lines(self) -> Iterator[str]:
        """Yields the lines of images and of finished videos.

        Lines that were cut off and those of unfinished videos are omitted, so that these images
        and videos are predicted again.
        """
        parsed = [(line, _parse(line)) for line in _lines(self.folder / JSONL_FILE)]
        entries = [(line, entry) for line, entry in parsed if entry]
        if any("path" not in entry for _, entry in entries):
            raise InputError(
                f"{self.folder}: --resume is not possible, since {JSONL_FILE} was written by an "
                "earlier version of higherhrnet, which did not record the paths of the files; omit "
                "--resume to replace the predictions, or choose another folder"
            )
        finished = {entry["path"] for _, entry in entries if "finished" in entry}
        for line, entry in entries:
            if "frame" not in entry or entry["path"] in finished:
                self._names[entry["path"]] = entry["file_name"]
                if "image_id" in entry:
                    self._file_names[entry["image_id"]] = entry["file_name"]
                yield line.rstrip("\n") + "\n"

    def _write_results(self) -> None:
        with (
            atomic_path(self.folder / RESULTS_FILE) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            write_json_list(file, self.results())
            file.write("\n")


def source_path(source: Source) -> str:
    """Returns the absolute path of a source, by which a resumed run identifies it.

    Links are not resolved. Bytes that are not UTF-8 are escaped. A camera is identified by its
    name, and a network address by its form without a password.
    """
    if isinstance(source.origin, int):
        return source.name
    if isinstance(source.origin, Url):
        return str(source.origin)
    path = os.path.abspath(source.origin)  # noqa: PTH100 (drops `..`)
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def image_id(name: str) -> int | str:
    """Returns the COCO image ID of a file: its stem if that is a number, otherwise its name."""
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() and stem.isascii() else name


def _read_settings(path: Path) -> dict[str, Any]:
    """Reads the settings in a file; they are empty if the file is missing or invalid."""
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file


def _parse(line: str) -> dict[str, Any] | None:
    """Parses a line; returns None if it is incomplete or invalid."""
    from higherhrnet.io.datasets.coco import check_results  # only --resume needs it

    try:
        entry = json.loads(line)
        check_results(entry["people"] if "image_id" in entry else [], "people")
        valid = isinstance(entry["file_name"], str) and isinstance(entry.get("path", ""), str)
        valid = valid and isinstance(entry.get("image_id", 0), int | str)
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    return entry if valid else None
