"""Recognizes images, animations and videos by the content of a file, not by its extension."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, Literal

VIDEO_EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm",
    ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv",
    ".mts", ".m2ts", ".vob", ".m2v", ".dv", ".mxf", ".asf", ".f4v", ".divx", ".3g2",
    ".y4m", ".264", ".h264", ".265", ".h265", ".hevc", ".ivf", ".mjpeg", ".mjpg",
)  # fmt: skip
"""The extensions of files that are read as videos if their content is not recognized. `.ts` is not
among them, because it is also the extension of source code: MPEG transport streams are recognized
by their content."""

Kind = Literal["image", "animation", "video"]
"""What a file contains; an animation is a GIF, PNG or WebP file with several frames."""

_IMAGE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]"
    rb"|BM....\0\0\0\0....[\x0c-\x7c]\0\0\0|P[1-7]\s+(#[^\n]*\s+)*(\d|WIDTH)"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"
    rb"|\0\0..ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1|avif|avis)",
    re.DOTALL,
)
_VIDEO = re.compile(
    rb"\0\0..ftyp(?!M4[ABP]|crx )|[\0-\x1f]...(moov|mdat|wide|free|skip|pnot)"  # MP4 and QuickTime
    rb"|RIFF....AVI |\x1a\x45\xdf\xa3|FLV[\x01-\x05]|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\.RMF"
    rb"|OggS.{20,200}?(\x80theora|fishead)"
    rb"|DKIF\0\0|YUV4MPEG2 |\x06\x0e\x2b\x34\x02\x05\x01\x01|\x1f\x07\0[\x3f\xbf]"  # DV
    rb"|\0\0\x01[\xb0\xb3\xba]"  # MPEG-1, MPEG-2 and MPEG-4
    rb"|\0?\0\0\x01([\x27\x47\x67][\x42\x4d\x58\x64\x6e\x7a\xf4]|\x09[\x10-\xff])"  # H.264
    rb"|\0?\0\0\x01(\x40\x01\x0c|\x46\x01)",  # H.265
    re.DOTALL,
)
_HEAD_SIZE = 16 * 204
"""The number of bytes that identify a file: 16 packets of a transport stream."""


def file_kind(path: Path) -> Kind:
    """Returns what a file contains.

    If the file cannot be read or its content is unknown, the extension decides; reading the file
    then raises the error.
    """
    suffix = path.suffix.lower()
    kind = known_kind(path)
    if kind == "image" and suffix in (".mjpeg", ".mjpg"):
        return "video"  # one JPEG image after the other
    return kind or ("video" if suffix in VIDEO_EXTENSIONS else "image")


def known_kind(path: Path) -> Kind | None:
    """Returns what a file contains; None if it cannot be read or its content is unknown.

    Pipes and devices are not opened, because their content can be read only once.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return stream_kind(file)
    except (OSError, ValueError):  # ValueError: the path contains a null character
        return None


def stream_kind(file: BinaryIO) -> Kind | None:
    """Returns what a binary file contains; None if its content is unknown."""
    head = file.read(_HEAD_SIZE)
    if _IMAGE.match(head):
        return _animated_kind(file, head)
    return "video" if _VIDEO.match(head) or _is_transport_stream(head) else None


def _is_transport_stream(head: bytes) -> bool:
    """Returns whether packets of constant length begin with the synchronization byte."""
    is_binary = any(byte < 9 or byte > 127 for byte in head)
    return is_binary and any(
        len(first_bytes := head[start::length]) >= 5 and set(first_bytes) == {0x47}
        for length in (188, 192, 204)
        for start in range(length)
    )


def _animated_kind(file: BinaryIO, head: bytes) -> Kind:
    """Returns `image` for a still image; the file is one of any format."""
    try:
        if head.startswith(b"GIF8"):
            file.seek(13 + _color_table_size(head[10]))
            return "animation" if _has_two(_gif_frames(file)) else "image"
        if head.startswith(b"RIFF") and head[12:16] == b"VP8X" and head[20] & 2:
            file.seek(12)
            frames = (1 for name, _ in _chunks(file, "<4sI", padding=2) if name == b"ANMF")
            return "animation" if _has_two(frames) else "image"
        if head.startswith(b"\x89PNG"):
            file.seek(8)
            chunks = dict(takewhile(lambda c: c[0] != b"IDAT", _chunks(file, ">I4s", overhead=4)))
            return "animation" if chunks.get(b"acTL", b"")[:4] > b"\0\0\0\1" else "image"
    except (struct.error, IndexError):  # truncated; reading it raises the error
        pass
    return "image"


def _has_two(items: Iterator[object]) -> bool:
    return sum(1 for _, _ in zip(range(2), items, strict=False)) == 2


def _chunks(
    file: BinaryIO, header: str, *, overhead: int = 0, padding: int = 1
) -> Iterator[tuple[bytes, bytes]]:
    """Yields the name and the first 32 bytes of each chunk of a PNG or WebP file.

    Args:
        file: the file, at the first chunk.
        header: the format of a chunk's header, which consists of its name and the size of its data.
        overhead: the number of bytes after the data.
        padding: the data are padded to a multiple of this number of bytes.
    """
    while len(start := file.read(8)) == 8:
        fields = struct.unpack(header, start)
        name, size = fields if header[1] == "4" else reversed(fields)
        data = file.tell()
        yield name, file.read(min(size, 32))
        file.seek(data + size + -size % padding + overhead)


def _gif_frames(file: BinaryIO) -> Iterator[int]:
    """Yields once for each frame of a GIF file; the file is at the first block."""
    while (block := file.read(1)) in (b"!", b","):
        if block == b",":
            yield 1
            descriptor = file.read(9)
            file.seek(_color_table_size(descriptor[8]) + 1, 1)
        else:
            file.seek(1, 1)
        while (size := file.read(1)[0]) > 0:
            file.seek(size, 1)


def _color_table_size(flags: int) -> int:
    """Returns the number of bytes of a color table of a GIF file."""
    return 3 * 2 ** (1 + (flags & 7)) if flags & 128 else 0
