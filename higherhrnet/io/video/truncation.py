"""Recognizes video files that are truncated."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from higherhrnet.io.video.mp4_boxes import presentation_seconds, top_level_boxes


def is_truncated(path: Path, num_frames: float, frame_count: int, fps: float | None) -> bool:
    """Returns whether a video file lacks its last part.

    Players show only a part of an MP4 file that was cut without reencoding, which is specified by
    its edit list. The frame count of Matroska, Flash and Windows Media files is an estimate from
    the duration of the longest stream, which may be the sound; for them, the size that the file
    should have decides. MPEG streams do not specify how long they should be.

    Args:
        path: the video file.
        num_frames: the number of frames that were found.
        frame_count: the frame count according to OpenCV; 0 if it is unknown.
        fps: the frame rate; None if it is unknown.
    """
    if frame_count and not _are_missing(num_frames, frame_count):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if is_truncated := next((f for m, f in _CHECKS.items() if head.startswith(m)), None):
                return is_truncated(file)
            if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
                seconds = presentation_seconds(file, frame_count)
                if seconds is None:  # fragmented
                    return not all(top_level_boxes(file))  # raises ValueError for a truncated box
                shown = min(frame_count, seconds * fps) if fps else frame_count
                return _are_missing(num_frames, shown)
            return head.startswith(b"RIFF") and frame_count > 0
    except (OSError, ValueError, struct.error):
        return True


def _are_missing(num_frames: float, frame_count: float) -> bool:
    return num_frames < 0.95 * frame_count - 1  # frame counts are often inexact


def _is_matroska_truncated(file: BinaryIO) -> bool:
    """Returns whether the segment, which contains everything, is longer than the file."""
    file_size, head = _size_and_head(file, 4096)
    start = head.find(b"\x18\x53\x80\x67") + 4
    if start < 4 or not head[start]:
        return False
    length = 9 - head[start].bit_length()  # of the number, in bytes
    size = int.from_bytes(head[start : start + length], "big") - (1 << 7 * length)
    is_unknown = size == (1 << 7 * length) - 1  # of live recordings
    return not is_unknown and start + length + size > file_size


def _is_flv_truncated(file: BinaryIO) -> bool:
    """Returns whether the file does not end with a complete tag and the tag's size."""
    file_size, _ = _size_and_head(file, 0)
    file.seek(file_size - 4)
    tag_size = int.from_bytes(file.read(4), "big")
    if tag_size > file_size - 13:
        return True
    file.seek(file_size - 4 - tag_size + 1)
    return int.from_bytes(file.read(3), "big") + 11 != tag_size


def _is_asf_truncated(file: BinaryIO) -> bool:
    """Returns whether the file is shorter than its header specifies."""
    file_size, head = _size_and_head(file, 2**16)
    start = head.find(b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\0\xc0\x0c\x20\x53\x65")
    return start >= 0 and int.from_bytes(head[start + 40 : start + 48], "little") > file_size


def _size_and_head(file: BinaryIO, length: int) -> tuple[int, bytes]:
    size = file.seek(0, 2)
    file.seek(0)
    return size, file.read(length)


_CHECKS = {
    b"\x1a\x45\xdf\xa3": _is_matroska_truncated,
    b"FLV": _is_flv_truncated,
    b"\x30\x26\xb2\x75": _is_asf_truncated,
}
"""Whether a file is truncated, for each container whose frame count is an estimate."""
