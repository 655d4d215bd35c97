"""Opens videos with OpenCV, and checks that it has decoded each frame."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.errors import InputError
from higherhrnet.io.addresses import TIMEOUT, Origin, Url
from higherhrnet.io.images import unreadable_error

DEFAULT_FPS = 25.0
"""The frame rate of videos whose rate is unknown."""

for _variable in ("OPENCV_FFMPEG_DEBUG", "OPENCV_FFMPEG_LOGLEVEL"):
    os.environ.pop(_variable, None)  # they would hide or redirect the errors that `Capture` reads

_CONVERSION_ERROR = re.compile(r"swscaler[^\]]*\]\s*(.*)")
_FFMPEG_LINE = re.compile(r"^\[\S+ @ 0x[0-9a-f]+\].*\n", re.MULTILINE)
_COLOR = re.compile(r"\x1b\[[\d;]*m")
_STDERR = 2
_stderr_lock = Lock()  # held while standard error is redirected


class FrameNotDecodedError(Exception):
    """OpenCV returned a frame whose pixels it has not written; the message is FFmpeg's reason."""


class Capture:
    """An open video or camera.

    When FFmpeg cannot convert a frame to RGB, such as an interlaced one, OpenCV ignores the error
    and returns the memory as it was. The error is only written to standard error, which is
    therefore read during each conversion. What is unrelated is passed on.

    Args:
        capture: the video of OpenCV.
        log: an empty temporary file.
    """

    def __init__(self, capture: cv2.VideoCapture, log: IO[bytes]) -> None:
        self._capture, self._log = capture, log

    def get(self, property_id: int) -> float:
        """Returns a property of the video, such as `cv2.CAP_PROP_FPS`."""
        return self._capture.get(property_id)

    @property
    def size(self) -> tuple[int, int]:
        """The width and the height of the upright frames."""
        properties = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
        width, height = (int(self._capture.get(number)) for number in properties)
        return width, height

    def grab(self, attempts: int) -> bool:
        """Proceeds to the next frame; returns False at the end of the video.

        Args:
            attempts: the number of successive damaged packets after which the video ends.
        """
        if self._capture.grab():
            return True
        with _stderr_lock, _redirected_stderr(self._log):  # each attempt prints the same error
            grabbed = any(self._capture.grab() for _ in range(1, attempts))
        _write_to_stderr(_FFMPEG_LINE.sub("", self._take_log()))
        return grabbed

    def retrieve(self) -> NDArray[np.uint8] | None:
        """Returns the grabbed frame as (H, W, 3) BGR; None if it cannot be decoded.

        Raises:
            FrameNotDecodedError: OpenCV returned a frame that it has not decoded.
        """
        with _stderr_lock, _redirected_stderr(self._log):
            try:
                decoded, image = self._capture.retrieve()
            except cv2.error:
                decoded, image = False, None
        if self._log.tell():
            self._check_log()
        if not decoded or image is None or image.dtype != np.uint8 or image.ndim != 3:
            return None
        return np.asarray(image, np.uint8)

    def _take_log(self) -> str:
        """Empties the log and returns its content."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        self._log.seek(0)
        self._log.truncate()
        return text

    def _check_log(self) -> None:
        text = self._take_log()
        if error := _CONVERSION_ERROR.search(_COLOR.sub("", text)):
            raise FrameNotDecodedError(error[1].strip().rstrip("."))
        _write_to_stderr(text)


def _write_to_stderr(text: str) -> None:
    with suppress(OSError):  # closed
        os.write(_STDERR, text.encode())


@contextmanager
def open_capture(origin: Origin) -> Iterator[Capture]:
    """Opens a video or camera.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(origin, Path):
        try:
            origin.open("rb").close()  # OpenCV does not report why it cannot open a file
        except (OSError, ValueError) as error:
            raise unreadable_error(origin, error) from error
    try:
        capture = _open(origin)
    except (UnicodeError, cv2.error) as error:  # a name that is not UTF-8, a number beyond 32 bits
        raise capture_error(origin) from error
    try:
        if not capture.isOpened():
            raise capture_error(origin)
        with _temporary_file() as log:
            yield Capture(capture, log)
    finally:
        capture.release()


def capture_error(origin: Origin) -> InputError:
    """Returns the error for a video or camera that cannot be opened or has no frame."""
    if isinstance(origin, int):
        return InputError(
            f"camera {origin} cannot be read; check that it is connected and not in use"
        )
    if isinstance(origin, Url):
        return InputError(
            f"{origin}: no video can be read from it within {TIMEOUT:.0f} s; check the address, "
            "the user name and the password"
        )
    return InputError(f"{origin}: not a video that OpenCV can read, or truncated")


def _open(origin: Origin) -> cv2.VideoCapture:
    logging = cv2.utils.logging
    # A video that cannot be opened raises an error; OpenCV's warning would repeat it.
    log_level = logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        return _create_capture(origin)
    finally:
        logging.setLogLevel(log_level)


def _create_capture(origin: Origin) -> cv2.VideoCapture:
    if isinstance(origin, Url):
        milliseconds = round(1000 * TIMEOUT)
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds]
        timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
        # Other backends print the address with its password.
        return cv2.VideoCapture(origin.address, cv2.CAP_FFMPEG, timeouts)
    if isinstance(origin, int):
        return cv2.VideoCapture(origin)
    return cv2.VideoCapture(str(origin.absolute()))  # FFmpeg takes `http:clip.mp4` as an address


def _temporary_file() -> IO[bytes]:
    """Creates an unbuffered temporary file, in memory where that is possible."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("higherhrnet"), "w+b", buffering=0)
    return TemporaryFile(buffering=0)


@contextmanager
def _redirected_stderr(file: IO[bytes]) -> Iterator[None]:
    """Redirects standard error of the process, also that of native libraries, to a file."""
    try:
        stderr = os.dup(_STDERR)
    except OSError:  # closed, for example in a service
        stderr = None
    os.dup2(file.fileno(), _STDERR)
    try:
        yield
    finally:
        if stderr is None:
            os.close(_STDERR)
        else:
            os.dup2(stderr, _STDERR)
            os.close(stderr)
