"""Quantization of a model to int8 while its AP stays nearly the same."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tqdm import tqdm

from higherhrnet.engines.base import MAX_STREAMS, EngineName, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import require
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.datasets.coco import Annotations
from higherhrnet.io.sources import Source
from higherhrnet.messages import counted
from higherhrnet.quantization.calibration import calibrate, network_inputs
from higherhrnet.quantization.latency import measure_latencies
from higherhrnet.quantization.qdq_network import FloatNetwork
from higherhrnet.quantization.report import EngineReport, QuantizationReport
from higherhrnet.quantization.sensitivity import CalibrationSample, map_errors, rank_layers

if TYPE_CHECKING:
    from onnxruntime.quantization import TensorsData

MAX_AP_DROP = 0.01
"""AP may drop by less than this."""
NUM_SAMPLES = 8
"""The number of calibration images on which map errors and latencies are measured."""
NUM_RANKED = 2
"""The number of inputs on which layers are ranked; with sixteen, the order is nearly the same."""
INT8_ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")
"""The engines in which the effects of quantization are measured, where they are installed."""


@dataclass(frozen=True)
class AccuracyCheck:
    """Measures AP on annotated images."""

    annotations: Annotations
    images: Path
    """The folder or .zip file of the images."""

    def measure(self, model: Path, engine: EngineName) -> float:
        """Measures the AP of a model in an engine."""
        predictor = Predictor.load(model, engine=engine, streams=MAX_STREAMS)
        results, _ = predict_dataset(predictor, self.annotations, self.images)
        return evaluate_results(self.annotations, results)["AP"]


def quantize(
    model: Path, out: Path, images: Sequence[Source], check: AccuracyCheck | None = None
) -> QuantizationReport:
    """Writes a model in int8.

    With an accuracy check, layers are returned to float, the most sensitive first, until AP drops
    by less than `MAX_AP_DROP` in each engine. Without one, only the heads remain in float.

    Args:
        model: a float .onnx file.
        out: the .onnx file to write.
        images: the images for calibration; those that cannot be read are reported and skipped.
        check: measures AP; None to measure none.

    Raises:
        InputError: the model is not of this package or is int8 already, none of the images can be
            read, no person is labeled in the annotations, or the file cannot be written.
    """
    predictor = Predictor.load(model, engine="onnxruntime")
    network = FloatNetwork(model, predictor.header)
    engine_names = [name for name in INT8_ENGINES if find_spec(name)]
    ap_before = {name: check.measure(model, name) for name in engine_names} if check else {}
    require(
        min(ap_before.values(), default=0) >= 0,
        "--annotations: no person is labeled, so AP cannot be measured",
    )
    ranges, used = calibrate(network, predictor, images)
    selected = used[:: -(-len(used) // NUM_SAMPLES)]
    inputs = [batch for source in selected for batch in network_inputs(predictor, source)]
    samples = [CalibrationSample(batch, predictor.engine(batch)) for batch in inputs]
    float_layers, ap_after = list[str](), dict[EngineName, float]()
    if check:
        float_layers, ap_after = _select_float_layers(network, ranges, samples, check, ap_before)
    network.write(out, ranges, float_layers)
    engines = dict[EngineName, EngineReport]()
    for name in engine_names:
        pair = [load_engine(EngineOptions(str(path), name))[0] for path in (model, out)]
        before, after = measure_latencies(pair, inputs)
        heatmaps, others = map_errors(pair[1], samples, predictor.header)
        ap = (ap_before[name], ap_after[name]) if check else None
        kind = "tag" if predictor.header.model.has_tags else "offset"
        errors = {f"{kind}_error": others}
        engines[name] = EngineReport((before, after), ap, heatmaps, **errors)
    return QuantizationReport(
        calibration_images=len(used),
        layers=len(network.heads) + len(network.layers),
        float_layers=[*network.heads, *float_layers],
        file_bytes=(model.stat().st_size, out.stat().st_size),
        engines=engines,
    )


def _select_float_layers(
    network: FloatNetwork,
    ranges: TensorsData,
    samples: Sequence[CalibrationSample],
    check: AccuracyCheck,
    ap_before: dict[EngineName, float],
) -> tuple[list[str], dict[EngineName, float]]:
    """Finds about the smallest number of float layers with which AP is kept, by bisection.

    Measuring AP takes most of the time. Therefore the number is increased for one engine after the
    other, so that most numbers are tried in a single engine.

    Returns:
        The layers that remain in float in addition to the heads, and the AP in each engine.
    """
    order: list[str] = []
    # With all layers in float the model is unchanged.
    measured = {(name, len(network.layers)): ap for name, ap in ap_before.items()}
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # open files on Windows
        trial = Path(folder, "trial.onnx")

        def keeps_ap(engine: EngineName, count: int) -> bool:
            before = ap_before[engine]
            if (engine, count) not in measured:
                network.write(trial, ranges, order[:count])
                measured[engine, count] = after = check.measure(trial, engine)
                layers = counted(count, "additional float layer")
                change = f"{before:.3f} → {after:.3f}"
                tqdm.write(f"AP with {layers}: {engine} {change}", file=sys.stderr)
            return before - measured[engine, count] < MAX_AP_DROP

        count = 0
        while failing := next((name for name in ap_before if not keeps_ap(name, count)), None):
            order = order or rank_layers(network, ranges, samples[:NUM_RANKED])
            counts = range(len(order))
            count = bisect_left(counts, True, lo=count + 1, key=partial(keeps_ap, failing))
    return order[:count], {name: measured[name, count] for name in ap_before}
