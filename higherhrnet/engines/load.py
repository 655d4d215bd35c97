"""The table of the engines; selects and loads the engine for a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from higherhrnet.config.header import Header
from higherhrnet.engines.base import Engine, EngineName, EngineOptions, Precision
from higherhrnet.engines.cache import exported_onnx
from higherhrnet.engines.onnxruntime import load_onnxruntime
from higherhrnet.engines.openvino import load_openvino
from higherhrnet.errors import InputError, require
from higherhrnet.hardware import may_have_gpu, usable_cores
from higherhrnet.zoo.resolve import resolve_model, torch_weights


class EngineEntry(NamedTuple):
    """How an engine is installed and loaded."""

    packages: tuple[str, ...]
    """The packages that it needs, by the names under which they are imported."""
    install: str
    """The command that installs them."""
    load: Callable[[Path, EngineOptions, int], tuple[Engine, Header]]
    """Loads a model file with the options and a number of CPU threads."""


def _load_torch(path: Path, options: EngineOptions, threads: int) -> tuple[Engine, Header]:
    """Loads the .safetensors file of a model; PyTorch is imported only here."""
    from higherhrnet.engines.torch import load_torch

    return load_torch(torch_weights(path), options.precision, threads, options.compile)


def _load_onnx(
    load: Callable[[Path, Precision, int, int], tuple[Engine, Header]],
    path: Path,
    options: EngineOptions,
    threads: int,
) -> tuple[Engine, Header]:
    """Loads a model as an ONNX file, which is exported to the cache if there is none."""
    onnx = path if path.suffix == ".onnx" else exported_onnx(path)
    return load(onnx, options.precision, threads, min(options.streams or 1, threads))


ENGINES: dict[EngineName, EngineEntry] = {
    "onnxruntime": EngineEntry(
        ("onnxruntime",), "pip install onnxruntime", partial(_load_onnx, load_onnxruntime)
    ),
    "openvino": EngineEntry(
        ("openvino",), 'pip install "higherhrnet[openvino]"', partial(_load_onnx, load_openvino)
    ),
    "torch": EngineEntry(("torch", "safetensors"), 'pip install "higherhrnet[torch]"', _load_torch),
}
"""The engines that `auto` selects from."""


def load_engine(options: EngineOptions) -> tuple[Engine, Header]:
    """Loads a model into an engine.

    Args:
        options: the model and the engine. `streams` is 1 if it is None, and at most `threads`.

    Returns:
        The engine, and the header of the model.

    Raises:
        InputError: the model is missing or not of this package, the engine is not installed, or it
            does not support the precision on this machine.
    """
    path = resolve_model(options.model)
    name = options.engine
    if name == "auto":
        name = fastest_engine(path, options.precision)
    if not _installed(name):
        raise InputError(f"the engine {name} is not installed: {ENGINES[name].install}")
    require(
        name == "torch" or not options.compile,
        f"--compile needs --engine torch; the engine is {name}",
    )
    return ENGINES[name].load(path, options, options.threads or usable_cores())


def _installed(engine: EngineName) -> bool:
    """Whether the packages of an engine are installed."""
    return all(map(find_spec, ENGINES[engine].packages))


def fastest_engine(path: Path, precision: Precision) -> EngineName:
    """Selects the fastest installed engine that can run a model.

    PyTorch on a GPU is the fastest, then OpenVINO. Without them, .safetensors files run with
    PyTorch on the CPU, and .onnx files with ONNX Runtime, which computes only in f32. OpenVINO is
    also returned if it is missing and no installed engine supports the precision.

    Args:
        path: the file of the model.
        precision: the arithmetic of the network.
    """
    if torch_weights(path).suffix != ".onnx" and _installed("torch") and may_have_gpu():
        import torch

        if torch.cuda.is_available() or torch.backends.mps.is_available():
            return "torch"
    if _installed("openvino") or (path.suffix == ".onnx" and precision != "f32"):
        return "openvino"
    return "torch" if path.suffix != ".onnx" and _installed("torch") else "onnxruntime"
