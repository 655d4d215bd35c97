"""Rewrites the frame times of MP4 files that OpenCV wrote, and adds the audio of another file.

OpenCV writes frames at a constant rate and no audio. An MP4 file (ISO/IEC 14496-12) consists of
boxes, each with a length, a type and content. The box `mdat` contains the frames and the audio; the
box `moov` contains tables of when each frame is shown and where in the file it is. OpenCV writes
`moov` at the end, so it can be replaced.
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
from numpy.typing import NDArray

_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"}
_TIME_SCALE = 90_000  # ticks per second of the video track
_MAX_DURATION = 2**31 - 1  # ticks per frame; players read greater values as negative
_VERSION_1 = 1 << 24  # a box with 64-bit times
_ENABLED_IN_MOVIE = 3  # flags of a track header
_EMPTY_EDIT = -1  # the media time of an edit that delays a track


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


def rewrite_timing(path: Path, times: Sequence[float], source: Path | None = None) -> None:
    """Sets the time of each frame of a video that OpenCV wrote, and adds the audio of another.

    Args:
        path: the video, which is changed in place.
        times: seconds, one per frame, increasing.
        source: an MP4 or MOV file whose audio is copied and stays synchronous. The audio of other
            files, of fragmented files and of damaged files is omitted.

    Raises:
        OSError: the video cannot be written.
        ValueError: the video is not an MP4 file, or has another number of frames.
        struct.error: a table of the video is truncated.
    """
    with path.open("r+b") as file:
        start, movie = _read_movie(file)
        file.seek(start)
        file.truncate()
        tracks: list[Box] = []
        scale, delay = 1000, 0
        if source:
            # Audio that cannot be copied is no reason to lose the video.
            with suppress(OSError, ValueError, struct.error), source.open("rb") as other:
                scale, delay, tracks = _copy_audio(other, file)
        if not tracks:
            file.truncate(start)
        _set_times(movie, times, scale, delay)
        movie.boxes += tracks
        movie.find(b"mvhd").pack_into(-4, ">I", 2 + len(tracks))  # the next track ID
        file.seek(0, 2)
        file.write(bytes(movie))


def _set_times(movie: Box, times: Sequence[float], scale: int, delay: int) -> None:
    """Sets the time of each frame.

    Args:
        movie: the box `moov` of a video without audio; changed in place.
        times: seconds, one per frame.
        scale: ticks per second of the movie, as opposed to its tracks.
        delay: ticks of the movie before the first frame.
    """
    track = movie.find(b"trak")
    table = track.find(b"mdia", b"minf", b"stbl")
    (num_frames,) = struct.unpack_from(">I", table.find(b"stsz").data, 8)
    if num_frames != len(times):
        raise ValueError(f"it contains {num_frames} of {len(times)} frames")
    ticks = np.rint((np.asarray(times) - times[0]) * _TIME_SCALE).astype(np.int64)
    durations = np.diff(ticks).clip(1, _MAX_DURATION).tolist()
    durations.append(durations[-1] if durations else _TIME_SCALE // 25)  # of the last: a guess
    media_duration = sum(durations)
    duration = round(media_duration * scale / _TIME_SCALE)

    runs = [(len(list(run)), ticks) for ticks, run in groupby(durations)]
    rows = b"".join(struct.pack(">II", *run) for run in runs)
    table.find(b"stts").data = struct.pack(">II", 0, len(runs)) + rows
    edits = [(delay, _EMPTY_EDIT)] * (delay > 0) + [(duration, 0)]
    rows = b"".join(struct.pack(">QqI", *edit, 1 << 16) for edit in edits)
    track.find(b"edts", b"elst").data = struct.pack(">II", _VERSION_1, len(edits)) + rows

    # Times need 64 bits: at a fine time scale, 32 bits overflow within minutes. The fields after
    # the times are kept.
    header = track.find(b"mdia", b"mdhd")
    header.data = struct.pack(">I16xIQ", _VERSION_1, _TIME_SCALE, media_duration) + header.data[-4:]
    header = track.find(b"tkhd")
    flags = _VERSION_1 | _ENABLED_IN_MOVIE
    header.data = struct.pack(">I16xI4xQ", flags, 1, delay + duration) + header.data[-60:]
    header = movie.find(b"mvhd")
    header.data = struct.pack(">I16xIQ", _VERSION_1, scale, delay + duration) + header.data[-80:]


def _copy_audio(source: BinaryIO, target: BinaryIO) -> tuple[int, int, list[Box]]:
    """Copies all audio tracks to the end of a file, with track IDs from 2.

    Returns:
        The ticks per second of the source, the ticks before its first frame, and the tracks, whose
        offsets refer to the target.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the source is not an MP4 file, or its tables are invalid.
        struct.error: a table of the source is truncated.
    """
    _, movie = _read_movie(source)
    header = movie.find(b"mvhd")
    (scale,) = struct.unpack_from(">I", header.data, 20 if header.has_64_bit_times else 12)
    if not scale:
        raise ValueError("the movie has 0 ticks per second")
    offsets = [_chunk_offsets(track) for track in movie.find_all(b"trak")]
    box_ends = [end for *_, end in _top_level_boxes(source)]
    borders = np.unique(np.concatenate([*offsets, box_ends]))
    left = size = source.seek(0, 2)
    begin = target.seek(0, 2)
    target.write(struct.pack(">I4sQ", 1, b"mdat", 0))
    tracks: list[Box] = []
    for track, starts in zip(movie.find_all(b"trak"), offsets, strict=True):
        if _handler_type(track) != b"soun" or not len(starts):
            continue
        # A chunk ends at the latest where another chunk of any track begins, or where a box ends.
        ends = borders[np.searchsorted(borders, starts, "right").clip(max=len(borders) - 1)]
        left -= int((ends - starts).sum())
        if ends.max() > size or left < 0:
            raise ValueError("chunks of audio are outside the file or overlap")
        copied = []
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            copied.append(target.tell())
            source.seek(start)
            target.write(source.read(end - start))
        _set_chunk_offsets(track, copied)
        tracks.append(track)
        header = track.find(b"tkhd")
        header.pack_into(20 if header.has_64_bit_times else 12, ">I", 1 + len(tracks))
    length = target.tell() - begin
    target.seek(begin + 8)
    target.write(struct.pack(">Q", length))
    videos = [track for track in movie.find_all(b"trak") if _handler_type(track) == b"vide"]
    return scale, sum(_delay(track) for track in videos[:1]), tracks


def _handler_type(track: Box) -> bytes:
    """Returns the type of a track: `vide`, `soun` or another."""
    return track.find(b"mdia", b"hdlr").data[8:12]


def _chunk_offsets(track: Box) -> NDArray[np.int64]:
    """Returns the offsets in the file of a track's chunks, which are runs of samples."""
    table = track.find(b"mdia", b"minf", b"stbl")
    for box_type, dtype in ((b"stco", ">u4"), (b"co64", ">u8")):
        for box in table.find_all(box_type):
            return np.frombuffer(box.data, dtype, offset=8).astype(np.int64)
    return np.zeros(0, np.int64)


def _set_chunk_offsets(track: Box, offsets: Sequence[int]) -> None:
    """Replaces the offsets of a track's chunks, and removes references to other tracks."""
    table = track.find(b"mdia", b"minf", b"stbl")
    table.boxes = [box for box in table.boxes if box.type not in (b"stco", b"co64")]
    packed = struct.pack(f">II{len(offsets)}Q", 0, len(offsets), *offsets)
    table.boxes.append(Box(b"co64", packed))
    track.boxes = [box for box in track.boxes if box.type != b"tref"]


def _delay(track: Box) -> int:
    """Returns the ticks of the movie before a track begins."""
    for box in track.find_all(b"edts", b"elst"):
        row = ">Qqi" if box.has_64_bit_times else ">Iii"
        for duration, media_time, _ in struct.iter_unpack(row, box.data[8:]):
            return int(duration) if media_time == _EMPTY_EDIT else 0
    return 0


def _read_movie(file: BinaryIO) -> tuple[int, Box]:
    """Reads the box `moov`; returns its offset and the box."""
    for start, box_type, content, end in _top_level_boxes(file):
        if box_type == b"moov":
            file.seek(content)
            return start, Box.parse(box_type, file.read(end - content))
    raise ValueError("not an MP4 file, or truncated")


def _top_level_boxes(file: BinaryIO) -> Iterator[tuple[int, bytes, int, int]]:
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
