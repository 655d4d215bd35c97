"""Writes and reads the videos of the tests with OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.synthetic.scenes import draw_scene

FPS = 10.0


def write_video(path: Path, size: tuple[int, int] = (64, 48), count: int = 8) -> Path:
    """Writes a video of a drawn scene, each frame brighter than the one before by 6.

    Args:
        path: the video, .mp4 or .avi; the encoder of .avi files supports odd sizes.
        size: width and height.
        count: the number of frames.
    """
    avi = path.suffix == ".avi"
    codec = cv2.VideoWriter.fourcc(*("MJPG" if avi else "mp4v"))
    backend = cv2.CAP_OPENCV_MJPEG if avi else cv2.CAP_FFMPEG
    writer = cv2.VideoWriter(str(path), backend, codec, FPS, size)
    assert writer.isOpened()
    image = draw_scene(3, height=size[1], width=size[0]).image
    for index in range(count):
        writer.write(np.minimum(image, 200) + np.uint8(6 * index))
    writer.release()
    return path


def read_video(path: Path) -> tuple[list[float], list[NDArray[np.uint8]]]:
    """Reads the times in seconds and the BGR images of all frames."""
    capture = cv2.VideoCapture(str(path))
    times: list[float] = []
    images: list[NDArray[np.uint8]] = []
    while True:
        decoded, image = capture.read()
        if not decoded:
            return times, images
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        images.append(np.asarray(image, np.uint8))
