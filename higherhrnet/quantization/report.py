"""The report on a quantized model, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from higherhrnet.engines.base import EngineName
from higherhrnet.io.atomic import atomic_path


@dataclass(frozen=True)
class EngineReport:
    """The effects of quantization in one engine; pairs are of the float and the int8 model."""

    latency_ms: tuple[float, float]
    """The median latency of the network in milliseconds for one image at one scale, all views."""
    AP: tuple[float, float] | None
    """None if AP was not measured."""
    heatmap_error: float
    """The root mean square error of the heatmaps relative to the float model's."""
    tag_error: float | None = None
    """The root mean square error of the tags relative to the float model's; None if there are no
    tags."""
    offset_error: float | None = None
    """The root mean square error of the offsets relative to the float model's; None if there are
    no offsets."""


@dataclass(frozen=True)
class QuantizationReport:
    """The effects of quantization; pairs are of the float and the int8 model."""

    calibration_images: int
    """The number of images that were used for calibration."""
    layers: int
    """The number of layers."""
    float_layers: list[str]
    """The layers that remain in float: the heads, then the most sensitive layers."""
    file_bytes: tuple[int, int]
    engines: dict[EngineName, EngineReport]

    def write(self, path: Path) -> None:
        """Writes the report as JSON.

        Raises:
            InputError: the file cannot be written.
        """
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        rows = [
            ("", "float", "int8"),
            ("file size", *(f"{n / 1e6:.1f} MB" for n in self.file_bytes)),
        ]
        for name, engine in self.engines.items():
            rows += [(name, "", ""), *_engine_rows(engine)]
        table = "\n".join(
            f"{name:18}{before:>12}{after:>12}".rstrip() for name, before, after in rows
        )
        layers = ", ".join(self.float_layers)
        count = len(self.float_layers)
        return f"{table}\n{count} of {self.layers} layers remain in float: {layers}"


def _engine_rows(engine: EngineReport) -> Iterator[tuple[str, str, str]]:
    before, after = engine.latency_ms
    yield "  latency", f"{before:.1f} ms", f"{after:.1f} ms"
    yield "  speedup", "", f"{before / after:.2f}"
    if engine.AP:
        yield "  AP", f"{engine.AP[0]:.3f}", f"{engine.AP[1]:.3f}"
    yield "  heatmap error", "", f"{engine.heatmap_error:.1%}"
    for name, error in (("tag", engine.tag_error), ("offset", engine.offset_error)):
        if error is not None:
            yield f"  {name} error", "", f"{error:.1%}"
