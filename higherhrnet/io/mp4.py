"""The clock and the sound of MP4 files: OpenCV writes frames at one rate, and no sound.

An MP4 is boxes: a length, a kind, and what is inside. `mdat` has the frames and the sound, `moov`
says in tables when each frame is shown and where in the file it lies. OpenCV writes `moov` last, so
another can take its place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

_NESTED = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"}
_TICKS = 90_000  # a second; of the frames' times
_LONGEST = 2**31 - 1  # ticks of one frame; players read more as less than none
_WIDE, _SHOWN = 1 << 24, 3  # versions and flags
_NEVER = -1  # the place in a track of what an edit shows before the track begins


@dataclass
class Box:
    """A part of the file."""

    kind: bytes
    data: bytes = b""
    boxes: list[Box] = field(default_factory=list)
    """What is inside a box that holds only others; such a box has no data of its own."""

    @classmethod
    def parse(cls, kind: bytes, data: bytes, depth: int = 8) -> Box:
        """A box from what follows its head; what is deeper inside than `depth` stays data.

        Raises:
            ValueError: a length in it makes no sense.
        """
        if kind not in _NESTED or not depth:
            return cls(kind, data)
        boxes, place = [], 0
        while place + 8 <= len(data):
            length, inner = struct.unpack_from(">I4s", data, place)
            if not 8 <= length <= len(data) - place:
                raise ValueError(f"a box {inner!r} of {length} bytes")
            boxes.append(cls.parse(inner, data[place + 8 : place + length], depth - 1))
            place += length
        return cls(kind, b"", boxes)

    def __bytes__(self) -> bytes:
        inside = self.data + b"".join(map(bytes, self.boxes))
        return struct.pack(">I4s", 8 + len(inside), self.kind) + inside

    @property
    def wide(self) -> bool:
        """Whether it counts times in 64 bits."""
        return self.data[:1] == b"\1"

    def all(self, *path: bytes) -> list[Box]:
        """All boxes that the kinds lead to, one in the other."""
        found = [self]
        for kind in path:
            found = [inner for box in found for inner in box.boxes if inner.kind == kind]
        return found

    def one(self, *path: bytes) -> Box:
        """The first of them.

        Raises:
            ValueError: there is none.
        """
        for box in self.all(*path):
            return box
        raise ValueError(f"no box {path!r}")

    def put(self, place: int, form: str, *values: int) -> None:
        """Writes numbers over the data from a place on."""
        data = bytearray(self.data)
        struct.pack_into(form, data, place, *values)
        self.data = bytes(data)


def rewrite_timing(path: Path, times: Sequence[float], source: Path | None = None) -> None:
    """Shows each frame of a video that OpenCV wrote at its own time, and adds another's sound.

    Args:
        path: of the video; changed in place.
        times: seconds, rising, one a frame.
        source: an MP4 or MOV whose sound is copied, so that it stays in its place; of any other,
            and of one in fragments, it is left out.

    Raises:
        OSError: the video cannot be written to.
        ValueError: it is no such video, or has not as many frames.
    """
    with path.open("r+b") as file:
        start, movie = _read_movie(file)
        file.seek(start)
        file.truncate()
        sounds: list[Box] = []
        scale, delay = 1000, 0
        if source:
            # A sound that cannot be copied is no reason to lose the video.
            with suppress(OSError, ValueError, struct.error), source.open("rb") as other:
                scale, delay, sounds = _copy_sound(other, file)
        if not sounds:
            file.truncate(start)
        _set_times(movie, times, scale, delay)
        movie.boxes += sounds
        movie.one(b"mvhd").put(-4, ">I", 2 + len(sounds))  # the next track's number
        file.seek(0, 2)
        file.write(bytes(movie))


def _set_times(movie: Box, times: Sequence[float], scale: int, delay: int) -> None:
    """Gives each frame its time; `delay` ticks of a `scale`th of a second go before the first."""
    track = movie.one(b"trak")
    media, table = track.one(b"mdia", b"mdhd"), track.one(b"mdia", b"minf", b"stbl")
    (written,) = struct.unpack_from(">I", table.one(b"stsz").data, 8)
    if written != len(times):
        raise ValueError(f"{written} of its {len(times)} frames are in it")
    ticks = np.rint((np.asarray(times) - times[0]) * _TICKS).astype(np.int64)
    lasts = np.diff(ticks).clip(1, _LONGEST).tolist()
    lasts.append(lasts[-1] if lasts else _TICKS // 25)  # nobody says how long the last is shown
    runs = [(len(list(run)), last) for last, run in groupby(lasts)]
    rows = b"".join(struct.pack(">II", *run) for run in runs)
    table.one(b"stts").data = struct.pack(">II", 0, len(runs)) + rows
    whole = round(sum(lasts) * scale / _TICKS)
    edits = [(delay, _NEVER)] * (delay > 0) + [(whole, 0)]
    # Times in 64 bits: of a fine clock, 32 are full within minutes. What follows them stays.
    rows = b"".join(struct.pack(">QqI", *edit, 1 << 16) for edit in edits)
    track.one(b"edts", b"elst").data = struct.pack(">II", _WIDE, len(edits)) + rows
    media.data = struct.pack(">I16xIQ", _WIDE, _TICKS, sum(lasts)) + media.data[-4:]
    head = track.one(b"tkhd")
    head.data = struct.pack(">I16xI4xQ", _WIDE | _SHOWN, 1, delay + whole) + head.data[-60:]
    head = movie.one(b"mvhd")
    head.data = struct.pack(">I16xIQ", _WIDE, scale, delay + whole) + head.data[-80:]


def _copy_sound(source: BinaryIO, target: BinaryIO) -> tuple[int, int, list[Box]]:
    """Copies all sound to the end of a file; its tracks count from 2.

    Returns:
        Ticks a second of the source's clock, the ticks before its first frame, and the tracks, with
        the places of their data in the target.
    """
    _, movie = _read_movie(source)
    head = movie.one(b"mvhd")
    (scale,) = struct.unpack_from(">I", head.data, 20 if head.wide else 12)
    tables = [_places(track) for track in movie.all(b"trak")]
    borders = np.unique(np.concatenate([*tables, [end for *_, end in _top(source)]]))
    left = size = source.seek(0, 2)
    begin = target.seek(0, 2)
    target.write(struct.pack(">I4sQ", 1, b"mdat", 0))
    tracks: list[Box] = []
    for track, places in zip(movie.all(b"trak"), tables, strict=True):
        if _handler(track) != b"soun" or not len(places):
            continue
        # A run of samples reaches at most to where another begins, of any track, or a box ends.
        ends = borders[np.searchsorted(borders, places, "right").clip(max=len(borders) - 1)]
        left -= int((ends - places).sum())
        if ends.max() > size or left < 0:
            raise ValueError("sound that lies outside the file, or twice in one place")
        moved = []
        for place, until in zip(places.tolist(), ends.tolist(), strict=True):
            moved.append(target.tell())
            source.seek(place)
            target.write(source.read(until - place))
        _move(track, moved)
        tracks.append(track)
        head = track.one(b"tkhd")
        head.put(20 if head.wide else 12, ">I", 1 + len(tracks))
    length = target.tell() - begin
    target.seek(begin + 8)
    target.write(struct.pack(">Q", length))
    videos = [track for track in movie.all(b"trak") if _handler(track) == b"vide"]
    return scale, sum(_delay(track) for track in videos[:1]), tracks


def _handler(track: Box) -> bytes:
    """What a track is: `vide`, `soun` or another."""
    return track.one(b"mdia", b"hdlr").data[8:12]


def _places(track: Box) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where the runs of a track's samples begin in the file."""
    table = track.one(b"mdia", b"minf", b"stbl")
    for kind, form in ((b"stco", ">u4"), (b"co64", ">u8")):
        for box in table.all(kind):
            return np.frombuffer(box.data, form, offset=8).astype(np.int64)
    return np.zeros(0, np.int64)


def _move(track: Box, places: Sequence[int]) -> None:
    """Says that the runs of a track's samples begin elsewhere; it is told alone, without others."""
    table = track.one(b"mdia", b"minf", b"stbl")
    table.boxes = [box for box in table.boxes if box.kind not in (b"stco", b"co64")]
    packed = struct.pack(f">II{len(places)}Q", 0, len(places), *places)
    table.boxes.append(Box(b"co64", packed))
    track.boxes = [box for box in track.boxes if box.kind != b"tref"]


def _delay(track: Box) -> int:
    """Ticks of the movie's clock before a track begins."""
    for box in track.all(b"edts", b"elst"):
        form = ">Qqi" if box.wide else ">Iii"
        for last, place, _ in struct.iter_unpack(form, box.data[8:]):
            return int(last) if place == _NEVER else 0
    return 0


def _read_movie(file: BinaryIO) -> tuple[int, Box]:
    """Where the box `moov` begins, and the box."""
    for start, kind, inside, end in _top(file):
        if kind == b"moov":
            file.seek(inside)
            return start, Box.parse(kind, file.read(end - inside))
    raise ValueError("no MP4, or one without its tables")


def _top(file: BinaryIO) -> Iterator[tuple[int, bytes, int, int]]:
    """The outermost boxes: where each begins, its kind, where its inside begins and ends."""
    end = file.seek(0, 2)
    start = 0
    while start + 8 <= end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        inside = start + 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            inside += 8
        until = start + length if length else end
        if until < inside or (until > end and kind == b"mdat"):  # after it there may be anything
            raise ValueError(f"a box {kind!r} of {length} bytes")
        yield start, kind, inside, min(until, end)
        start = until
