"""Selects and loads the engine for a model."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from higherhrnet.config.header import Header
from higherhrnet.engines.base import Engine, EngineName, EngineOptions, Precision
from higherhrnet.engines.cache import exported_onnx
from higherhrnet.engines.onnxruntime import load_onnxruntime
from higherhrnet.engines.openvino import load_openvino
from higherhrnet.errors import InputError, require
from higherhrnet.hardware import may_have_gpu, usable_cores
from higherhrnet.zoo.resolve import resolve_model, torch_weights

_INSTALL = {
    "onnxruntime": "pip install onnxruntime",
    "openvino": 'pip install "higherhrnet[openvino]"',
    "torch": 'pip install "higherhrnet[torch]"',
}


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
        raise InputError(f"the engine {name} is not installed: {_INSTALL[name]}")
    threads = options.threads or usable_cores()
    if name == "torch":
        from higherhrnet.engines.torch import load_torch

        return load_torch(torch_weights(path), options.precision, threads, options.compile)
    require(not options.compile, f"--compile needs --engine torch; the engine is {name}")
    if path.suffix != ".onnx":
        path = exported_onnx(path)
    load = load_openvino if name == "openvino" else load_onnxruntime
    return load(path, options.precision, threads, min(options.streams or 1, threads))


def _installed(engine: str) -> bool:
    """Whether an engine and the package that reads its files are installed."""
    return all(map(find_spec, [engine, "safetensors"] if engine == "torch" else [engine]))


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
    if find_spec("openvino") or (path.suffix == ".onnx" and precision != "f32"):
        return "openvino"
    return "torch" if path.suffix != ".onnx" and _installed("torch") else "onnxruntime"
