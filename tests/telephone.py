"""A small MP4 as telephones write them, made from one that OpenCV wrote, a box at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

TICKS = 600
RATE = 8000
LASTS = [30, 20, 20, 45, 12, 60, 20, 25]  # of each frame, in ticks


def box(kind: bytes, *inside: bytes) -> bytes:
    data = b"".join(inside)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def walk(data: bytes, path: tuple[bytes, ...], place: int = 0) -> Iterator[tuple[int, bytes]]:
    """Where the inside of each box that the kinds lead to begins, and the inside."""
    end = len(data)
    while place + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, place + 8)
            head = 16
        if kind == path[0]:
            inside = data[place + head : place + length]
            if len(path) == 1:
                yield place + head, inside
            else:
                for start, found in walk(inside, path[1:]):
                    yield place + head + start, found
        place += length


def one(data: bytes, *path: bytes) -> tuple[int, bytes]:
    return next(walk(data, path))


def sound_track(places: list[int], samples: int, delay: int) -> bytes:
    """A track of µ-law sound in runs of the same length, `delay` ticks after the film begins."""
    run = samples // len(places)
    entry = struct.pack(">6xH8xHHxxxxI", 1, 1, 16, RATE << 16)
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), box(b"ulaw", entry)),
        box(b"stts", struct.pack(">IIII", 0, 1, samples, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, run, 1)),
        box(b"stsz", struct.pack(">III", 0, 1, samples)),
        box(b"stco", struct.pack(f">II{len(places)}I", 0, len(places), *places)),
    )
    reference = box(b"dref", struct.pack(">II", 0, 1), box(b"url ", struct.pack(">I", 1)))
    media = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, RATE, samples, 0x55C4, 0)),
        box(b"hdlr", struct.pack(">II4s12x", 0, 0, b"soun"), b"sound\0"),
        box(b"minf", box(b"smhd", bytes(8)), box(b"dinf", reference), table),
    )
    last = samples * TICKS // RATE
    edits = struct.pack(">IIIiIIiI", 0, 2, delay, -1, 1 << 16, last, 0, 1 << 16)
    matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    head = struct.pack(">IIIIII8xHHHH", 3, 0, 0, 2, 0, delay + last, 0, 0, 0x100, 0) + matrix
    return box(b"trak", box(b"tkhd", head, bytes(8)), box(b"edts", box(b"elst", edits)), media)


def as_from_a_telephone(path: Path, sound: bytes) -> None:
    """Turns OpenCV's file: frames at `LASTS`, lying pixels that are to be turned, and sound."""
    data = path.read_bytes()
    start, movie = one(data, b"moov")
    place, _ = one(movie, b"mvhd")
    movie = movie[: place + 12] + struct.pack(">II", TICKS, sum(LASTS)) + movie[place + 20 :]
    track_at, track = one(movie, b"trak")
    turn = (0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000)
    _, head = one(track, b"tkhd")
    head = head[:20] + struct.pack(">I", sum(LASTS)) + head[24:40] + struct.pack(">9i", *turn)
    head += struct.pack(">II", 64 << 16, 48 << 16)
    _, media = one(track, b"mdia")
    clock = box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, TICKS, sum(LASTS), 0x55C4, 0))
    runs = [(len(list(run)), last) for last, run in groupby(LASTS)]
    times = struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)
    _, info = one(media, b"minf")
    _, table = one(info, b"stbl")
    parts = {kind: one(table, kind)[1] for kind in (b"stsd", b"stss", b"stsc", b"stsz", b"stco")}
    table = box(b"stts", times) + b"".join(box(kind, inside) for kind, inside in parts.items())
    info = box(b"vmhd", one(info, b"vmhd")[1]) + box(b"dinf", one(info, b"dinf")[1])
    media = clock + box(b"hdlr", one(media, b"hdlr")[1]) + box(b"minf", info, box(b"stbl", table))
    video = box(b"trak", box(b"tkhd", head), box(b"mdia", media))
    first = start  # the sound goes where the tables were
    track = sound_track([first, first + len(sound) // 2], len(sound), 150)
    before = movie[: track_at - 8]
    path.write_bytes(data[: start - 8] + box(b"mdat", sound) + box(b"moov", before, video, track))
