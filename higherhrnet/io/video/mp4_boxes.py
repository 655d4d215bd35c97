"""Parses MP4 and QuickTime files.

A file (ISO/IEC 14496-12) consists of boxes, each with a length, a type and content. The box `mdat`
contains the frames and the sound; the box `moov` contains tables of when each frame is shown and
where in the file it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import BinaryIO

_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"}

EMPTY_EDIT = -1
"""The media time of an edit that delays a track."""


@dataclass
class Box:
    """A box of an MP4 file."""

    type: bytes
    data: bytes = b""
    """The content of a box that does not consist of boxes."""
    boxes: list[Box] = field(default_factory=list)
    """The content of a box that consists of boxes."""

    @classmethod
    def parse(cls, box_type: bytes, data: bytes, depth: int = 8) -> Box:
        """Parses the content of a box; boxes nested deeper than `depth` are kept as data.

        Raises:
            ValueError: the length of an inner box is invalid.
        """
        if box_type not in _CONTAINERS or not depth:
            return cls(box_type, data)
        boxes, offset = [], 0
        while offset + 8 <= len(data):
            length, inner = struct.unpack_from(">I4s", data, offset)
            if not 8 <= length <= len(data) - offset:
                raise ValueError(f"the box {inner!r} has the invalid length {length}")
            boxes.append(cls.parse(inner, data[offset + 8 : offset + length], depth - 1))
            offset += length
        return cls(box_type, b"", boxes)

    def __bytes__(self) -> bytes:
        content = self.data + b"".join(map(bytes, self.boxes))
        return struct.pack(">I4s", 8 + len(content), self.type) + content

    @property
    def has_64_bit_times(self) -> bool:
        """Whether the box is of version 1, whose times have 64 bits instead of 32."""
        return self.data[:1] == b"\1"

    def find_all(self, *path: bytes) -> list[Box]:
        """Returns all boxes at a path of types, from the outermost to the innermost."""
        boxes = [self]
        for box_type in path:
            boxes = [inner for box in boxes for inner in box.boxes if inner.type == box_type]
        return boxes

    def find(self, *path: bytes) -> Box:
        """Returns the first box at a path of types.

        Raises:
            ValueError: there is none.
        """
        for box in self.find_all(*path):
            return box
        raise ValueError(f"the box {b'/'.join(path)!r} is missing")

    def pack_into(self, offset: int, format: str, *values: int) -> None:
        """Overwrites numbers of the data, as `struct.pack_into` does."""
        data = bytearray(self.data)
        struct.pack_into(format, data, offset, *values)
        self.data = bytes(data)


def presentation_seconds(file: BinaryIO, num_frames: int) -> float | None:
    """Returns the duration of the part of a video that players show, according to its edit list.

    Args:
        file: an MP4 or MOV file.
        num_frames: the number of frames of the video track, also of those that are not shown.

    Returns:
        Seconds; infinity if the track has no edit list, and players show all of it; None if its
        frames are not in the table, as in fragmented files.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an MP4 file, or its tables are invalid.
        struct.error: a table is truncated.
    """
    movie = read_movie(file)[1]
    scale = time_scale(movie)
    for track in movie.find_all(b"trak"):
        sizes = track.find_all(b"mdia", b"minf", b"stbl", b"stsz")
        if handler_type(track) != b"vide" or not sizes:
            continue
        (num_samples,) = struct.unpack_from(">I", sizes[0].data, 8)
        if num_samples == num_frames > 0:
            ticks = sum(length for length, start in edits(track) if start != EMPTY_EDIT)
            return ticks / scale if ticks else inf
    return None


def read_movie(file: BinaryIO) -> tuple[int, Box]:
    """Reads the box `moov`; returns its offset and the box."""
    for start, box_type, content, end in top_level_boxes(file):
        if box_type == b"moov":
            file.seek(content)
            return start, Box.parse(box_type, file.read(end - content))
    raise ValueError("not an MP4 file, or truncated")


def top_level_boxes(file: BinaryIO) -> Iterator[tuple[int, bytes, int, int]]:
    """Yields the offset and the type of each outermost box, and start and end of its content."""
    size = file.seek(0, 2)
    start = 0
    while start + 8 <= size:
        file.seek(start)
        length, box_type = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            content += 8
        end = start + length if length else size
        if end < content or (end > size and box_type == b"mdat"):  # the file is truncated
            raise ValueError(f"the box {box_type!r} has the invalid length {length}")
        yield start, box_type, content, min(end, size)
        start = end


def handler_type(track: Box) -> bytes:
    """Returns the type of a track: `vide`, `soun` or another."""
    return track.find(b"mdia", b"hdlr").data[8:12]


def time_scale(movie: Box) -> int:
    """Returns the ticks per second of a movie, as opposed to its tracks."""
    header = movie.find(b"mvhd")
    (scale,) = struct.unpack_from(">I", header.data, 20 if header.has_64_bit_times else 12)
    if not scale:
        raise ValueError("the movie has 0 ticks per second")
    return int(scale)


def edits(track: Box) -> Iterator[tuple[int, int]]:
    """Yields the ticks of the movie and the media time of each entry of a track's edit list."""
    for box in track.find_all(b"edts", b"elst"):
        row = ">Qqi" if box.has_64_bit_times else ">Iii"
        for duration, media_time, _ in struct.iter_unpack(row, box.data[8:]):
            yield duration, media_time
