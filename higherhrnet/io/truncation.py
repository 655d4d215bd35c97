"""Finds out how many frames a video file should contain, to recognize files that are truncated."""

from __future__ import annotations

import struct
from pathlib import Path

from higherhrnet.io.mp4_boxes import presentation_seconds


def expected_frames(path: Path, frame_count: int, fps: float) -> int:
    """Returns the number of frames that a video should have; 0 if that is unknown.

    Players show only a part of an MP4 file that was cut without reencoding, which is specified by
    its edit list. The frame count of Matroska and MPEG files is an estimate from the duration of
    the longest stream, which may be the sound.

    Args:
        path: the video file.
        frame_count: the frame count according to OpenCV.
        fps: the frame rate.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
                seconds = presentation_seconds(file, frame_count)
                return frame_count if seconds is None else min(frame_count, round(seconds * fps))
            if head.startswith(b"\x1a\x45\xdf\xa3"):
                return frame_count if _is_matroska_truncated(head, file.seek(0, 2)) else 0
            return frame_count if head.startswith((b"RIFF", b"FLV", b"\x30\x26\xb2\x75")) else 0
    except (OSError, ValueError, struct.error):
        return frame_count


def _is_matroska_truncated(head: bytes, file_size: int) -> bool:
    """Returns whether the segment, which contains everything, is longer than the file."""
    start = head.find(b"\x18\x53\x80\x67") + 4
    if start < 4:
        return False
    length = 9 - head[start].bit_length()  # of the number, in bytes
    size = int.from_bytes(head[start : start + length], "big") - (1 << 7 * length)
    is_unknown = size == (1 << 7 * length) - 1  # of live recordings
    return not is_unknown and start + length + size > file_size
