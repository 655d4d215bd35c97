"""bench: speed and memory of each engine, compared with the reference implementation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from higherhrnet.cli.options import Flag, write_json
from higherhrnet.engines.base import MAX_STREAMS, Precision
from higherhrnet.flags import flag


def bench(
    model: Annotated[
        str | None, flag("a w32 network with random weights", "FILE|NAME", ("-m",))
    ] = None,
    images: Annotated[tuple[str, ...], flag("a synthetic scene", "STR")] = (),
    sizes: Annotated[tuple[int, ...], flag("the model's input size", "INT")] = (),
    engines: tuple[Literal["torch", "onnxruntime", "openvino"], ...] = (
        "torch",
        "onnxruntime",
        "openvino",
    ),
    precisions: tuple[Precision, ...] = ("f32", "bf16"),
    people: tuple[int, ...] = (1, 5, 15, 30),
    runs: int = 5,
    no_flip: Flag = False,
    threads: Annotated[int | None, flag("all cores", "INT")] = None,
    streams: int = MAX_STREAMS,
    json: Annotated[Path | None, flag("not written", "PATH")] = None,
) -> int:
    """Measure latency, throughput and memory of each engine on this machine.

    Every row is compared with the reference implementation, and all decode with its published
    settings, at one scale.

    Args:
        model: A .onnx or .safetensors file, or the name of a model.
        images: Images, folders or glob patterns. Latency is measured on the first image, throughput
            on all of them.
        sizes: Lengths in pixels of the shorter side to which images are resized for the network.
        engines: The engines to measure; those that are not installed are skipped.
        precisions: The arithmetic of the network; what an engine does not support is skipped.
        people: Numbers of synthetic people for which the decoding of maps is measured.
        runs: Number of measured runs, after one warm-up run.
        no_flip: Do not use the flipped image.
        threads: Number of CPU threads that the network uses.
        streams: Number of concurrent inference requests on the CPU when throughput is measured;
            at most the number of threads.
        json: Write all measurements to this JSON file as well.
    """
    from higherhrnet.bench.measure import Plan, measure
    from higherhrnet.bench.subjects import machine
    from higherhrnet.bench.tables import format_figures

    plan = Plan(
        model, images, sizes, engines, precisions, people, runs, not no_flip, threads, streams
    )
    on = machine()
    print(f"{model or 'w32, random weights'}; {on['processor']}, {on['cores']} cores", flush=True)
    measured = []
    for figures in measure(plan):
        print(f"\n{format_figures(figures, runs)}", flush=True)
        measured.append(asdict(figures))
    if json:
        write_json(json, {"machine": on, "plan": asdict(plan), "sizes": measured})
    return 0
