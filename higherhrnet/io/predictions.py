"""Predictions on disk: a line an image as they are made, and COCO results at the end.

`predictions.jsonl` grows by one line an image, nobody in it or many, so that a run that was cut off
can go on. When a run ends, `predictions.json`, a list with one entry a person, is made from it, and
if wanted `predictions.csv`, a row a person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, TextIO

from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.csv import write_csv
from higherhrnet.io.sources import Frame, Source
from higherhrnet.poses import Poses
from higherhrnet.skeleton import Skeleton

LINES, RESULTS, SETTINGS_FILE = "predictions.jsonl", "predictions.json", "look.json"
TABLE = "predictions.csv"


class PredictionWriter:
    """Writes predictions into a folder, and knows what it holds already.

    Args:
        folder: made if it is not there.
        resume: keep what the folder holds; else the first new prediction replaces it.
        results: make `predictions.json` at the end.
        look: how the pictures are looked at, as plain JSON values; written down, so that another
            look cannot go on with these predictions.
        table: make `predictions.csv` at the end, with the keypoints of this skeleton.

    Raises:
        InputError: the folder cannot be written to, or what it holds was looked at otherwise.
    """

    def __init__(
        self,
        folder: Path,
        resume: bool = False,
        results: bool = True,
        look: Mapping[str, Any] | None = None,
        table: Skeleton | None = None,
    ) -> None:
        self.folder, self.results, self.table = folder, results, table
        self._look = json.dumps(look or {}, indent=1) + "\n"
        self._ids: dict[int | str, str] = {}
        self._done: set[str] = set()
        self._file: TextIO | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()  # fails now, not after the first image
            if resume:
                self._check_look()
                self._begin(list(self._kept()))
        except OSError as error:
            raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
            if self.results:
                self._write_results()
            if self.table:
                write_csv(self.folder / TABLE, self.people(), self.table)

    def holds(self, source: Source) -> bool:
        """Whether all of a source was predicted already."""
        return source.name in self._done

    def add(self, frame: Frame, poses: Poses) -> None:
        """Writes down the people of one frame."""
        name = frame.source.name
        facts: dict[str, Any] = {"file_name": name}
        if frame.index is not None:
            facts |= {"frame": frame.index, "time": frame.time}
        number = image_id(name)
        if self._ids.setdefault(number, name) != name:  # 1.png of another folder was here before
            number = name
        results = poses.to_coco(number, **facts)
        self._write({"image_id": number, **facts, "people": results})

    def finish(self, source: Source) -> None:
        """Notes that a video was predicted to its end."""
        self._write({"file_name": source.name, "finished": True})

    def people(self) -> Iterator[dict[str, Any]]:
        """All results of this run and of those that it goes on from, as COCO has them."""
        for line in _lines(self.folder / LINES) if self._file else ():
            yield from (_parsed(line) or {}).get("people", ())

    def _write(self, entry: dict[str, Any]) -> None:
        try:
            file = self._file or self._begin([])  # only for something new is the old given up
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written to: {error.strerror}") from error

    def _check_look(self) -> None:
        path = self.folder / SETTINGS_FILE
        if path.is_file() and path.read_text(encoding="utf-8") != self._look:
            raise InputError(
                f"{self.folder}: its predictions were made with another model or settings; leave "
                "out --resume to make them anew, or write to another folder"
            )

    def _begin(self, kept: list[str]) -> TextIO:
        for made_from_lines in (RESULTS, TABLE):
            (self.folder / made_from_lines).unlink(missing_ok=True)
        with atomic_path(self.folder / SETTINGS_FILE) as beside:
            beside.write_text(self._look, encoding="utf-8")
        with atomic_path(self.folder / LINES) as beside:
            beside.write_text("".join(kept), encoding="utf-8")
        self._file = (self.folder / LINES).open("a", encoding="utf-8")
        return self._file

    def _kept(self) -> Iterator[str]:
        """The lines of pictures and of finished videos; half a line, or half a video, is redone."""
        lines = [(line, _parsed(line)) for line in _lines(self.folder / LINES)]
        entries = [(line, entry) for line, entry in lines if entry]
        finished = {entry["file_name"] for _, entry in entries if "finished" in entry}
        for line, entry in entries:
            if "frame" not in entry or entry["file_name"] in finished:
                self._done.add(entry["file_name"])
                if "image_id" in entry:
                    self._ids[entry["image_id"]] = entry["file_name"]
                yield line.rstrip("\n") + "\n"

    def _write_results(self) -> None:
        with (
            atomic_path(self.folder / RESULTS) as beside,
            beside.open("w", encoding="utf-8") as file,
        ):
            separator = "["
            for person in self.people():
                file.write(f"{separator}\n{json.dumps(person, ensure_ascii=False)}")
                separator = ","
            file.write("[]\n" if separator == "[" else "\n]\n")


def image_id(name: str) -> int | str:
    """A file's number where its stem is one, as COCO's are; else its name."""
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() and stem.isascii() else name


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file


def _parsed(line: str) -> dict[str, Any] | None:
    """A line's entry; None if the line was cut off."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) and "file_name" in entry else None
