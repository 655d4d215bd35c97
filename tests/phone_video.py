"""MP4 files like those of phones: with varying frame durations, a rotation and delayed audio.

The functions assemble the boxes of ISO 14496-12 from those of a file that OpenCV has written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

TIMESCALE = 600
"""Ticks per second."""
SAMPLE_RATE = 8000
"""Audio samples per second."""
FRAME_TICKS = [30, 20, 20, 45, 12, 60, 20, 25]
"""The duration of each frame in ticks."""
AUDIO_DELAY = 150
"""Ticks from the start of the video to the start of the audio."""


def make_box(kind: bytes, *contents: bytes) -> bytes:
    """A box: its size, its four-character type and its contents."""
    data = b"".join(contents)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def find_boxes(
    data: bytes, path: tuple[bytes, ...], offset: int = 0
) -> Iterator[tuple[int, bytes]]:
    """The offset and the contents of each box at a path of types, from an offset on."""
    while offset + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        header_size = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, offset + 8)
            header_size = 16
        if kind == path[0]:
            start = offset + header_size
            contents = data[start : offset + size]
            if len(path) == 1:
                yield start, contents
            else:
                for inner_start, inner in find_boxes(contents, path[1:]):
                    yield start + inner_start, inner
        offset += size


def find_box(data: bytes, *path: bytes) -> tuple[int, bytes]:
    """The offset and the contents of the first box at a path of types."""
    return next(find_boxes(data, path))


def audio_track(chunk_offsets: list[int], samples: int) -> bytes:
    """A track of 8-bit µ-law audio in chunks of equal size, `AUDIO_DELAY` after the video."""
    chunk_size = samples // len(chunk_offsets)
    sample_entry = struct.pack(">6xH8xHHxxxxI", 1, 1, 16, SAMPLE_RATE << 16)
    sample_table = make_box(
        b"stbl",
        make_box(b"stsd", struct.pack(">II", 0, 1), make_box(b"ulaw", sample_entry)),
        make_box(b"stts", struct.pack(">IIII", 0, 1, samples, 1)),
        make_box(b"stsc", struct.pack(">IIIII", 0, 1, 1, chunk_size, 1)),
        make_box(b"stsz", struct.pack(">III", 0, 1, samples)),
        make_box(
            b"stco",
            struct.pack(f">II{len(chunk_offsets)}I", 0, len(chunk_offsets), *chunk_offsets),
        ),
    )
    data_reference = make_box(
        b"dref", struct.pack(">II", 0, 1), make_box(b"url ", struct.pack(">I", 1))
    )
    media = make_box(
        b"mdia",
        make_box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, SAMPLE_RATE, samples, 0x55C4, 0)),
        make_box(b"hdlr", struct.pack(">II4s12x", 0, 0, b"soun"), b"sound\0"),
        make_box(
            b"minf", make_box(b"smhd", bytes(8)), make_box(b"dinf", data_reference), sample_table
        ),
    )
    ticks = samples * TIMESCALE // SAMPLE_RATE
    edits = struct.pack(">IIIiIIiI", 0, 2, AUDIO_DELAY, -1, 1 << 16, ticks, 0, 1 << 16)
    matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    header = struct.pack(">IIIIII8xHHHH", 3, 0, 0, 2, 0, AUDIO_DELAY + ticks, 0, 0, 0x100, 0)
    return make_box(
        b"trak",
        make_box(b"tkhd", header, matrix, bytes(8)),
        make_box(b"edts", make_box(b"elst", edits)),
        media,
    )


def video_track(track: bytes) -> bytes:
    """The video track of OpenCV's file with `FRAME_TICKS`, which players rotate by 90 degrees."""
    duration = sum(FRAME_TICKS)
    rotation = (0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000)
    _, header = find_box(track, b"tkhd")
    header = header[:20] + struct.pack(">I", duration) + header[24:40]
    header += struct.pack(">9i", *rotation) + struct.pack(">II", 64 << 16, 48 << 16)
    _, media = find_box(track, b"mdia")
    media_header = struct.pack(">IIIIIHH", 0, 0, 0, TIMESCALE, duration, 0x55C4, 0)
    runs = [(len(list(run)), ticks) for ticks, run in groupby(FRAME_TICKS)]
    times = struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)
    _, information = find_box(media, b"minf")
    _, sample_table = find_box(information, b"stbl")
    kept = [
        make_box(kind, find_box(sample_table, kind)[1])
        for kind in (b"stsd", b"stss", b"stsc", b"stsz", b"stco")
    ]
    media = make_box(
        b"mdia",
        make_box(b"mdhd", media_header),
        make_box(b"hdlr", find_box(media, b"hdlr")[1]),
        make_box(
            b"minf",
            make_box(b"vmhd", find_box(information, b"vmhd")[1]),
            make_box(b"dinf", find_box(information, b"dinf")[1]),
            make_box(b"stbl", make_box(b"stts", times), *kept),
        ),
    )
    return make_box(b"trak", make_box(b"tkhd", header), media)


def convert_to_phone_video(path: Path, audio: bytes) -> None:
    """Rewrites a video of 64×48 pixels from OpenCV as one that plays as 48×64, with audio.

    Args:
        path: the file, with as many frames as `FRAME_TICKS` and the box `moov` at its end.
        audio: µ-law samples, an even number.
    """
    data = path.read_bytes()
    movie_start, movie = find_box(data, b"moov")
    header_start, _ = find_box(movie, b"mvhd")
    time = struct.pack(">II", TIMESCALE, sum(FRAME_TICKS))
    movie = movie[: header_start + 12] + time + movie[header_start + 20 :]
    track_start, track = find_box(movie, b"trak")
    audio_start = movie_start  # `mdat` replaces `moov` and has a header of the same size
    offsets = [audio_start, audio_start + len(audio) // 2]
    movie = make_box(
        b"moov", movie[: track_start - 8], video_track(track), audio_track(offsets, len(audio))
    )
    path.write_bytes(data[: movie_start - 8] + make_box(b"mdat", audio) + movie)
