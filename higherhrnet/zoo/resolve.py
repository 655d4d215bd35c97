"""Resolves a model name or path to a file."""

from __future__ import annotations

from pathlib import Path

from higherhrnet.errors import reading

DEFAULT_MODEL = "default"
"""The name of the bundled model."""
_BUNDLED = Path(__file__).with_name("default.onnx")


def resolve_model(name_or_file: str | Path) -> Path:
    """Resolves a model name or path to a file.

    A published model is downloaded and converted when it is used for the first time.

    Args:
        name_or_file: a .onnx or .safetensors file, `default` for the bundled model, or the name of
            a published model.

    Raises:
        InputError: there is no such file or model, or it cannot be downloaded or converted.
    """
    if str(name_or_file) == DEFAULT_MODEL:
        return _BUNDLED
    with reading(name_or_file):
        if Path(name_or_file).is_file():
            return Path(name_or_file)
    from higherhrnet.zoo.fetch import fetch_model  # takes 0.1 s to import
    from higherhrnet.zoo.manual import reject_manual_model
    from higherhrnet.zoo.published import published_model

    reject_manual_model(str(name_or_file))
    return fetch_model(published_model(str(name_or_file)))


def torch_weights(path: Path) -> Path:
    """Returns the file of a model that PyTorch can read.

    That of the bundled model is its .safetensors file; its .onnx file allows inference without
    PyTorch. Any other path is returned unchanged.
    """
    return path.with_suffix(".safetensors") if path == _BUNDLED else path
