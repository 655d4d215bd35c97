"""A folder of photographs → the range of every value in a network that is shown them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnxruntime.quantization import create_calibrator
from tqdm import tqdm

from higherhrnet.arrays import FloatArray
from higherhrnet.errors import InputError, require
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.sources import Source, list_sources, read_frames
from higherhrnet.quantization.network import OPERATIONS, FloatNetwork

if TYPE_CHECKING:
    from onnxruntime.quantization import TensorsData


def choose(folder: Path, count: int) -> list[Source]:
    """At most so many photographs, spread evenly over a folder and the folders in it.

    Raises:
        InputError: it is no folder, or has no photographs.
    """
    require(count >= 1, f"--calibration-images must be at least 1, not {count}")
    require(folder.is_dir(), f"{folder}: no such folder of photographs to calibrate on")
    found = [source for source in list_sources([str(folder)], sys.stdin) if not source.is_video]
    require(bool(found), f"{folder}: has videos, but no photographs to calibrate on")
    places = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [found[place] for place in places]


def calibrate(
    network: FloatNetwork, predictor: Predictor, photographs: Iterable[Source]
) -> tuple[TensorsData, list[Source]]:
    """Shows a network photographs as its predictor does, and notes the range of each value.

    One that cannot be read is reported and left out.

    Returns:
        The ranges, and the photographs that were read.

    Raises:
        InputError: none of them can be read.
    """
    shown = []
    with TemporaryDirectory() as folder:
        plain = Path(folder, "plain.onnx")
        onnx.save(network.proto, str(plain))
        calibrator = create_calibrator(
            plain, OPERATIONS, augmented_model_path=str(Path(folder, "augmented.onnx"))
        )
        for source in tqdm(photographs, "calibrating", unit=" images", disable=None):
            try:
                views = read_views(predictor, source)
            except InputError as error:
                tqdm.write(f"skipped: {error}", file=sys.stderr)
                continue
            calibrator.collect_data(_Views(views))
            shown.append(source)
    if not shown:
        raise InputError("none of the photographs to calibrate on can be read")
    return calibrator.compute_data(), shown


def read_views(predictor: Predictor, source: Source) -> list[FloatArray]:
    """A photograph as the network will see it: (V, 3, H, W) a scale."""
    image = next(read_frames(source)).image
    return [np.asarray(views, np.float32) for views in predictor.preprocess(image).inputs.values()]


class _Views:
    """What ONNX Runtime draws inputs from until there are none."""

    def __init__(self, views: Iterable[FloatArray]) -> None:
        self._left = iter(views)

    def get_next(self) -> dict[str, FloatArray] | None:
        views = next(self._left, None)
        return None if views is None else {"images": views}
