"""Calibration: measurement of a network's activation ranges on images."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, create_calibrator
from tqdm import tqdm

from higherhrnet.arrays import FloatArray
from higherhrnet.errors import InputError, reading, require
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Source, read_frames
from higherhrnet.quantization.qdq_network import OPERATIONS, FloatNetwork

if TYPE_CHECKING:
    from onnxruntime.quantization import TensorsData


def select_calibration_images(folder: Path, count: int) -> list[Source]:
    """Selects up to `count` images, spread evenly over a folder and its subfolders.

    Raises:
        InputError: the folder is missing or contains no images, or `count` is below 1.
    """
    require(count >= 1, f"--calibration-images must be at least 1, not {count}")
    with reading(folder):
        require(folder.is_dir(), f"--calibrate {folder}: no such folder")
    images = [source for source in list_sources([str(folder)], sys.stdin) if not source.is_video]
    require(bool(images), f"--calibrate {folder}: contains videos, but no images")
    indices = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [images[index] for index in indices]


def calibrate(
    network: FloatNetwork, predictor: Predictor, images: Iterable[Source]
) -> tuple[TensorsData, list[Source]]:
    """Measures the activation ranges of a network on images that the predictor preprocesses.

    Images that cannot be read are reported and skipped.

    Returns:
        The ranges, and the images that were used.

    Raises:
        InputError: none of the images can be read.
    """
    used = []
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # open files on Windows
        model = Path(folder, "float.onnx")
        onnx.save(network.proto, str(model))
        calibrator = create_calibrator(
            model, OPERATIONS, augmented_model_path=str(Path(folder, "augmented.onnx"))
        )
        for source in tqdm(images, "calibrating", unit=" images", disable=None):
            try:
                inputs = network_inputs(predictor, source)
            except InputError as error:
                tqdm.write(f"skipped: {error}", file=sys.stderr)
                continue
            calibrator.collect_data(_InputReader(inputs))
            used.append(source)
    if not used:
        raise InputError("none of the images of --calibrate can be read")
    return calibrator.compute_data(), used


def network_inputs(predictor: Predictor, source: Source) -> list[FloatArray]:
    """Reads and preprocesses an image: an array (views, 3, H, W) for each scale."""
    image = next(read_frames(source)).image
    inputs = predictor.preprocess(image).inputs.values()
    return [np.asarray(views, np.float32) for views in inputs]


class _InputReader(CalibrationDataReader):  # type: ignore[misc]
    """Passes inputs of the network to ONNX Runtime."""

    def __init__(self, inputs: Iterable[FloatArray]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, FloatArray] | None:
        """Returns the next input by its name in the model, or None at the end."""
        views = next(self._inputs, None)
        return None if views is None else {"images": views}
