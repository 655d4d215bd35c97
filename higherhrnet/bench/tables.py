"""The results as text tables, which are Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from higherhrnet.bench.pipeline import STEPS, PipelineInfo
from higherhrnet.bench.results import Latency, SizeResult, Throughput

_COLUMNS = *STEPS, "speed-up", "people found", "equals reference"


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose first column is aligned to the left and the others to the right."""
    alignment = ["left", *["right"] * (len(headings) - 1)]
    cells = [[str(cell) for cell in row] for row in rows]
    return str(tabulate(cells, headings, "pipe", colalign=alignment, disable_numparse=True))


def format_result(result: SizeResult, runs: int) -> str:
    """All tables of one input size."""
    return "\n\n".join(_sections(result, runs))


def _sections(result: SizeResult, runs: int) -> Iterator[str]:
    engines, info = result.engines, result.engines[0].pipeline
    flip = ", with the flipped view" if info.flip else ""
    yield (
        f"{result.image}; network input {info.width}×{info.height}{flip}. "
        f"Values are medians (minimum–maximum) of {runs} runs."
    )
    yield "Latency of one image, in milliseconds, and peak memory in MB:"
    rows = ([e.name, *_cells(e.latency[0]), _megabytes(e.pipeline)] for e in engines)
    yield markdown_table(["engine", *_COLUMNS, "memory"], rows)
    yield "Throughput in images per second, and peak memory in MB:"
    rows = ([e.name, *_throughput(e.throughput)] for e in engines if e.throughput)
    yield markdown_table(["engine", "images/s", "streams", "network busy", "memory"], rows)
    synthetic = list(zip(*(engine.latency[1:] for engine in engines), strict=True))
    if synthetic:
        yield "Latency with synthetic maps of N people instead of the network's, in milliseconds:"
        rows = (
            [engine.name, str(latency.synthetic_people), *_cells(latency)[3:]]
            for each in synthetic
            for engine, latency in zip(engines, each, strict=True)
        )
        yield markdown_table(["engine", "N", *_COLUMNS[3:]], rows)
    if result.skipped:
        yield "\n".join(f"skipped {name}: {reason}" for name, reason in result.skipped.items())


def _cells(latency: Latency) -> list[str]:
    *steps, total = latency.milliseconds.values()
    speedup = "" if latency.speedup is None else f"{latency.speedup:.1f}×"
    equal = {None: "", True: "yes", False: "no"}[latency.equal]
    return [*(f"{s.median:.1f}" for s in steps), str(total), speedup, str(latency.people), equal]


def _throughput(result: Throughput) -> list[str]:
    busy, info = f"{result.network_busy.median:.0%}", result.pipeline
    return [str(result.images_per_second), str(info.streams), busy, _megabytes(info)]


def _megabytes(info: PipelineInfo) -> str:
    memory = info.peak_memory
    ram = f"{memory['ram'] / 1e6:.0f}" if "ram" in memory else ""
    return f"{ram} + {memory['gpu'] / 1e6:.0f} (GPU)" if "gpu" in memory else ram
