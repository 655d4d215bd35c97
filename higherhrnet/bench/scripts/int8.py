"""Measures what int8 costs in accuracy and gains in time, on annotated images.

Run it with `python -m higherhrnet.bench.scripts.int8 annotations.json images calibration-images`.
The tables in `benchmarks/README.md` and `docs/howto/int8.md` are its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm
from tyro.conf import Positional

from higherhrnet import Predictor
from higherhrnet.bench.tables import markdown_table
from higherhrnet.engines.base import EngineName, Precision
from higherhrnet.evaluation.metrics import compute_metrics
from higherhrnet.evaluation.pairing import pair_results
from higherhrnet.io.datasets.coco import Annotations, load_annotations
from higherhrnet.io.images import read_image
from higherhrnet.quantization.calibration import select_calibration_images
from higherhrnet.quantization.quantize import AccuracyCheck, quantize
from higherhrnet.zoo.resolve import resolve_model

_VARIANTS: tuple[tuple[EngineName, Precision], ...] = (
    ("onnxruntime", "f32"),
    ("openvino", "f32"),
    ("openvino", "bf16"),
)
"""The engines and the precisions of the layers that are not int8."""


def measure(
    predictors: Mapping[str, Predictor], truth: Annotations, images: Path
) -> list[list[object]]:
    """Predicts each image with all predictors in turn.

    Returns:
        For each predictor its name, AP, processor time in seconds per image (median), and the ratio
        of that of the first predictor to it (median of the images).
    """
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in predictors}
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    for entry in tqdm(truth.images):
        image = read_image(images / entry["file_name"])
        for name, predictor in predictors.items():
            start = process_time()
            poses = predictor(image)
            seconds[name].append(process_time() - start)
            results[name] += poses.to_coco(entry["id"])
    first = np.array(next(iter(seconds.values())))
    return [
        [
            name,
            f"{compute_metrics(pair_results(truth, found))['AP']:.4f}",
            f"{np.median(seconds[name]):.3f}",
            f"{np.median(first / seconds[name]):.2f}",
        ]
        for name, found in results.items()
    ]


def main(
    annotations: Positional[Path],
    images: Positional[Path],
    calibrate: Positional[Path],
    model: str = "default",
    calibration_images: int = 32,
    every: int = 1,
    keep_ap: bool = False,
    folder: Path = Path("int8"),
) -> None:
    """Quantizes a model, and prints AP and time per image of the float and the int8 file.

    Args:
        annotations: A COCO keypoints file.
        images: The folder of its images.
        calibrate: A folder of images for calibration.
        model: An .onnx file, or `default`.
        calibration_images: Number of images of the folder to use.
        every: Measure only every N-th image.
        keep_ap: Keep layers in float until AP is lower by less than 0.01, as `export --int8
            --annotations` does; several times as long.
        folder: The folder in which the int8 file and its report are written.
    """
    network, truth = resolve_model(model), load_annotations(annotations)
    truth = truth.subset(truth.images[::every])
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "int8.onnx"
    sources = select_calibration_images(calibrate, calibration_images)
    check = AccuracyCheck(truth, images) if keep_ap else None
    report = quantize(network, out, sources, check)
    report.write(out.with_suffix(".json"))
    print(f"{report}\n", flush=True)
    load = partial(Predictor.load, threads=1)
    predictors = {
        f"{engine}, {kind}{'' if precision == 'f32' else f' and {precision}'}": load(
            file, engine=engine, precision=precision
        )
        for engine, precision in _VARIANTS
        for kind, file in (("float", network), ("int8", out))
    }
    rows = measure(predictors, truth, images)
    print(markdown_table(["engine, file", "AP", "seconds per image", "speed-up"], rows))


if __name__ == "__main__":
    tyro.cli(main)
