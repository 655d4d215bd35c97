"""Rewrites the frame times of MP4 files that OpenCV wrote, and adds the audio of another file.

OpenCV writes frames at a constant rate and no audio. It writes the box `moov`, which contains the
tables of when each frame is shown, at the end of the file, so it can be replaced.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from higherhrnet.io.video.mp4_boxes import (
    EMPTY_EDIT,
    Box,
    edits,
    handler_type,
    read_movie,
    time_scale,
    top_level_boxes,
)

_TIME_SCALE = 90_000  # ticks per second of the video track
_MAX_DURATION = 2**31 - 1  # ticks per frame; players read greater values as negative
_VERSION_1 = 1 << 24  # a box with 64-bit times
_ENABLED_IN_MOVIE = 3  # flags of a track header


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
        start, movie = read_movie(file)
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
    entries = [(delay, EMPTY_EDIT)] * (delay > 0) + [(duration, 0)]
    rows = b"".join(struct.pack(">QqI", *edit, 1 << 16) for edit in entries)
    track.find(b"edts", b"elst").data = struct.pack(">II", _VERSION_1, len(entries)) + rows

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
    _, movie = read_movie(source)
    scale = time_scale(movie)
    offsets = [_chunk_offsets(track) for track in movie.find_all(b"trak")]
    box_ends = [end for *_, end in top_level_boxes(source)]
    borders = np.unique(np.concatenate([*offsets, box_ends]))
    left = size = source.seek(0, 2)
    begin = target.seek(0, 2)
    target.write(struct.pack(">I4sQ", 1, b"mdat", 0))
    tracks: list[Box] = []
    for track, starts in zip(movie.find_all(b"trak"), offsets, strict=True):
        if handler_type(track) != b"soun" or not len(starts):
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
    videos = [track for track in movie.find_all(b"trak") if handler_type(track) == b"vide"]
    return scale, sum(_delay(track) for track in videos[:1]), tracks


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
    for duration, media_time in edits(track):
        return duration if media_time == EMPTY_EDIT else 0
    return 0
