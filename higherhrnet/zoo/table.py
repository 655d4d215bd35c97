"""Formats the table of the published models."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from higherhrnet.graph.higherhrnet import trace
from higherhrnet.zoo.fetch import cached_file
from higherhrnet.zoo.published import PublishedModel

_HEADINGS = (
    "name", "width", "keypoints", "input", "AP, one scale", "AP, several scales", "evaluated on",
    "parameters", "multiply-adds", "file", "license", "in the cache",
)  # fmt: skip


def format_models(models: Sequence[PublishedModel]) -> str:
    """Formats a table of models, followed by the address and digest of each."""
    rows = [_row(model) for model in models]
    table = tabulate(rows, _HEADINGS, tablefmt="plain", disable_numparse=True)
    files = (f"{model.name}: {model.url}, {model.digest or 'no digest'}" for model in models)
    return "\n".join([table, "", *files])


def _row(model: PublishedModel) -> list[str]:
    """Returns the cells of a model; values that do not apply or are unknown are dashes."""
    input_size = parameters = multiply_adds = "–"
    if model.input_size:
        graph = trace(model.config)
        input_size = f"{model.input_size} px"
        parameters = f"{graph.num_parameters / 1e6:.1f} M"
        multiply_adds = f"{graph.multiply_adds(model.input_size, model.input_size) / 1e9:.1f} G"
    return [
        model.name,
        str(model.width),
        str(model.config.num_keypoints) if model.input_size else "–",
        input_size,
        str(model.ap or "–"),
        str(model.ap_multi_scale or "–"),
        model.evaluated_on or "– (backbone)",
        parameters,
        multiply_adds,
        f"{model.size / 1e6:.0f} MB" if model.size else "unknown",
        model.license,
        "yes" if cached_file(model).is_file() else "no",
    ]
