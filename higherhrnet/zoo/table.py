"""Formats the table of the published models."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from higherhrnet.graph.build import trace
from higherhrnet.zoo.fetch import cached_file
from higherhrnet.zoo.published_model import PublishedModel

_HEADINGS = (
    "name", "width", "keypoints", "input", "AP, one scale", "AP, several scales", "evaluated on",
    "parameters", "multiply-adds", "latency", "file", "license",
)  # fmt: skip
LATENCY_NOTE = (
    "latency: seconds without and with the flipped view, with random weights, for an image of "
    "640×480 pixels, in ONNX Runtime in float32 on two CPU cores (half the processor time of one)"
)
_LATENCIES = {  # that of ("offsets", 48, 14, 640) is not measured
    ("tags", 32, 14, 512): "0.63 / 1.24 s",
    ("tags", 32, 17, 512): "0.64 / 1.28 s",
    ("tags", 32, 17, 640): "0.99 / 2.01 s",
    ("tags", 32, 133, 512): "0.68 / 1.35 s",
    ("tags", 48, 17, 512): "1.26 / 2.48 s",
    ("tags", 48, 17, 640): "1.99 / 3.95 s",
    ("tags", 48, 133, 512): "1.36 / 2.80 s",
    ("offsets", 32, 14, 512): "0.78 / 1.51 s",
    ("offsets", 32, 17, 512): "0.80 / 1.58 s",
    ("offsets", 48, 17, 640): "2.20 / 4.39 s",
}
"""The latency by head, width, number of keypoints and input size, from `bench.scripts.zoo`."""


def format_models(models: Sequence[PublishedModel]) -> str:
    """Formats a table of models for a terminal, followed by the address and digest of each."""
    rows = [[*_row(model), "yes" if cached_file(model).is_file() else "no"] for model in models]
    table = tabulate(rows, [*_HEADINGS, "in the cache"], tablefmt="plain", disable_numparse=True)
    files = (f"{model.name}: {model.url}, {model.digest or 'no digest'}" for model in models)
    return "\n".join([table, "", LATENCY_NOTE, "", *files])


def model_cells(model: PublishedModel) -> dict[str, str]:
    """Returns the cells of a model in the tables of the documentation by their headings."""
    return dict(zip(_HEADINGS, _row(model), strict=True))


def _row(model: PublishedModel) -> list[str]:
    """Returns the cells of a model; values that do not apply or are unknown are dashes."""
    keypoints = input_size = parameters = multiply_adds = latency = "–"
    file = f"{model.size / 1e6:.0f} MB" if model.size else "unknown"
    if model.input_size:
        config, graph = model.config, trace(model.config)
        keypoints = str(config.num_keypoints)
        input_size = f"{model.input_size} px"
        parameters = f"{graph.num_parameters / 1e6:.1f} M"
        multiply_adds = f"{graph.multiply_adds(model.input_size, model.input_size) / 1e9:.1f} G"
        key = config.head, config.width, config.num_keypoints, model.input_size
        latency = _LATENCIES.get(key, "–")
        if not model.size:  # of 4 bytes per parameter
            file = f"≈ {4 * graph.num_parameters / 1e6:.0f} MB"
    return [
        model.name,
        str(model.width),
        keypoints,
        input_size,
        str(model.ap or "–"),
        str(model.ap_multi_scale or "–"),
        model.evaluated_on or "– (backbone)",
        parameters,
        multiply_adds,
        latency,
        file,
        model.license,
    ]
