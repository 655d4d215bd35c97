"""Times from a photograph on disk to people, for each engine and for the original's way.

python -m benchmarks.predict --json predict.json

The network is a w32 at 512 pixels with its first random weights, and sees the mirror image, too. It
finds nobody, so decoding people comes on top: benchmarks/decode.py measures that.
"""

from __future__ import annotations

import json as jsonlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
import tyro

from benchmarks import original
from higherhrnet import HigherHRNet, Predictor, read_image
from higherhrnet.config import Header
from higherhrnet.errors import InputError
from higherhrnet.export import export_onnx
from higherhrnet.inference.engine import EngineName, Precision, usable_cores
from higherhrnet.network import checkpoint
from higherhrnet.skeleton import COCO

PHOTOGRAPH = Path(__file__).parent.parent / "examples" / "basketball1.png"
WAYS: tuple[tuple[EngineName, Precision], ...] = (
    ("torch", "f32"),
    ("torch", "bf16"),
    ("onnxruntime", "f32"),
    ("openvino", "f32"),
    ("openvino", "bf16"),
)
Times = dict[str, float]


def ours(predictor: Predictor, photograph: Path) -> Times:
    """Seconds of each step of one photograph."""
    marks = [perf_counter()]
    image = read_image(photograph)
    marks.append(perf_counter())
    prepared = predictor.prepare(image)
    marks.append(perf_counter())
    (outputs,) = predictor.run([prepared])
    marks.append(perf_counter())
    predictor.read(prepared, outputs)
    marks.append(perf_counter())
    return dict(zip(("read", "resize", "network", "decode"), np.diff(marks).tolist(), strict=True))


def the_originals(model: HigherHRNet, predictor: Predictor, photograph: Path) -> Times:
    """The same in float32, a pass for each view, maps enlarged before they are searched."""
    marks = [perf_counter()]
    image = read_image(photograph)
    marks.append(perf_counter())
    prepared = predictor.prepare(image)
    view = torch.from_numpy(prepared.views[1.0][:1])
    marks.append(perf_counter())
    with torch.inference_mode():
        views = [model(view), model(view.flip(3))]
    marks.append(perf_counter())
    grid = view.shape[2], view.shape[3]
    original.decode(*original.aggregate({1.0: views}, COCO.flip_index, grid), COCO.grouping_order)
    marks.append(perf_counter())
    return dict(zip(("read", "resize", "network", "decode"), np.diff(marks).tolist(), strict=True))


def main(runs: int = 7, photograph: Path = PHOTOGRAPH, json: Path | None = None) -> None:
    """Prints the table of medians.

    Args:
        runs: Counted runs of each way, after one that is not; the ways take turns.
        photograph: What to look at.
        json: Write the times to this file, too.
    """
    torch.manual_seed(0)
    model = HigherHRNet().eval()
    ways: dict[str, Callable[[], Times]] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights, exported = Path(folder, "w32.safetensors"), Path(folder, "w32.onnx")
        checkpoint.save(weights, model, Header(model.config))
        export_onnx(model, Header(model.config), exported)
        for engine, precision in WAYS:
            path = weights if engine == "torch" else exported
            try:
                predictor = Predictor.load(path, engine=engine, precision=precision)
            except InputError as error:
                print(f"{engine} {precision}: {error}")
                continue
            ways[predictor.engine.description] = lambda p=predictor: ours(p, photograph)  # type: ignore[misc]
        first = Predictor.load(weights, engine="torch")
        ways = {"the original's way": lambda: the_originals(model, first, photograph), **ways}
        times: dict[str, list[Times]] = {name: [] for name in ways}
        for run in range(runs + 1):
            for name, way in ways.items():
                steps = way()
                if run:
                    times[name].append(steps)
    print(f"{photograph.name}, w32 at 512 with flip, {usable_cores()} cores: median ms of {runs}\n")
    print("| way | read | resize | network | decode | all (least–most) | faster |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    totals = {name: [1e3 * sum(one.values()) for one in taken] for name, taken in times.items()}
    reference = median(totals["the original's way"])
    for name, taken in times.items():
        cells = [f"{1e3 * median(one[step] for one in taken):.1f}" for step in taken[0]]
        total = totals[name]
        spread = f"{median(total):.0f} ({min(total):.0f}–{max(total):.0f})"
        print(f"| {name} | {' | '.join(cells)} | {spread} | {reference / median(total):.1f}× |")
    if json:
        json.write_text(jsonlib.dumps(times, indent=1))


if __name__ == "__main__":
    tyro.cli(main)
