"""A float model and photographs → an int8 model whose AP is nearly the same, and a report of it."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tqdm import tqdm

from higherhrnet.arrays import FloatArray
from higherhrnet.engines.base import MAX_STREAMS, EngineName, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import require
from higherhrnet.evaluation.metrics import evaluate_results
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.coco import Annotations
from higherhrnet.io.sources import Source
from higherhrnet.quantization.calibration import calibrate, read_views
from higherhrnet.quantization.network import FloatNetwork
from higherhrnet.quantization.report import Change, Report, time_in_turn
from higherhrnet.quantization.sensitivity import Maps, map_errors, rank_layers

if TYPE_CHECKING:
    from onnxruntime.quantization import TensorsData

LOSS = 0.01
"""AP falls by less than this."""
SAMPLES = 8
"""Photographs of those calibrated on by which layers are ranked and engines timed."""
ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Judge:
    """Annotated photographs to measure AP on."""

    annotations: Annotations
    pictures: Path
    """The folder or .zip that they are in."""

    def measure(self, model: Path) -> dict[str, float]:
        """A model's AP in each engine that is installed."""
        found: dict[str, float] = {}
        for engine in _installed():
            predictor = Predictor.load(model, engine=engine, streams=MAX_STREAMS)
            results, _ = predict_dataset(predictor, self.annotations, self.pictures)
            found[engine] = evaluate_results(self.annotations, results)["AP"]
        return found


def quantize(
    model: Path, out: Path, photographs: Sequence[Source], judge: Judge | None = None
) -> Report:
    """Writes a model in int8, calibrated on photographs.

    With a judge, its layers are put back to float, the most sensitive first, until AP falls by less
    than `LOSS` in each engine. Without one only the heads are float.

    Args:
        model: a float .onnx file.
        out: the .onnx file to write.
        photographs: what to calibrate on; those that cannot be read are reported and left out.
        judge: measures AP.

    Raises:
        InputError: the model is foreign or in int8 already, no photograph can be read, nobody is
            labelled to measure AP by, or the place cannot be written to.
    """
    require(not (out.exists() and out.samefile(model)), f"{out}: is the model itself; name another")
    predictor = Predictor.load(model, engine="onnxruntime")
    network = FloatNetwork(model, predictor.header)
    before = judge.measure(model) if judge else {}
    require(min(before.values(), default=0) >= 0, "nobody is labelled in --annotations: no AP")
    ranges, shown = calibrate(network, predictor, photographs)
    chosen = shown[:: -(-len(shown) // SAMPLES)]
    samples = [views for source in chosen for views in read_views(predictor, source)]
    truth = [predictor.engine(views) for views in samples]
    floats, after = _keep_ap(network, ranges, samples, truth, judge, before) if judge else ([], {})
    network.write(out, ranges, floats)
    changes: dict[str, Change] = {}
    for name in _installed():
        engines = [load_engine(EngineOptions(str(path), name))[0] for path in (model, out)]
        slow, fast = time_in_turn(engines, samples)
        heatmaps, tags = map_errors(engines[1], samples, truth, len(predictor.header.skeleton))
        ap = (before[name], after[name]) if judge else None
        changes[name] = Change((slow, fast), ap, heatmaps, tags)
    sizes = model.stat().st_size, out.stat().st_size
    kept = [*network.heads, *floats]
    total = len(network.heads) + len(network.layers)
    return Report(len(shown), total, kept, sizes, changes)


def _keep_ap(
    network: FloatNetwork,
    ranges: TensorsData,
    samples: Sequence[FloatArray],
    truth: Sequence[Maps],
    judge: Judge,
    before: dict[str, float],
) -> tuple[list[str], dict[str, float]]:
    """About the fewest layers that must stay float, found by halving, and the AP that is left."""
    found: dict[int, dict[str, float]] = {}
    with TemporaryDirectory() as folder:
        trial = Path(folder, "trial.onnx")

        def holds(floats: Sequence[str]) -> bool:
            network.write(trial, ranges, floats)
            found[len(floats)] = after = judge.measure(trial)
            figures = ", ".join(f"{name} {before[name]:.3f} → {after[name]:.3f}" for name in after)
            tqdm.write(f"AP with {len(floats)} more layers in float: {figures}", file=sys.stderr)
            return all(before[name] - after[name] < LOSS for name in before)

        if holds([]):
            return [], found[0]
        order = rank_layers(network, ranges, samples, truth)
        places = range(len(order))  # with all of them in float nothing changes
        count = bisect_left(places, True, lo=1, key=lambda count: holds(order[:count]))
        return order[:count], found.get(count, before)


def _installed() -> list[EngineName]:
    return [name for name in ENGINES if find_spec(name)]
