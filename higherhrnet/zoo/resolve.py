"""Resolves a model name or path to a file."""

from __future__ import annotations

from pathlib import Path

from higherhrnet.errors import InputError, reading
from higherhrnet.io.cache import cache_folder
from higherhrnet.zoo.published import PUBLISHED

DEFAULT_MODEL = "default"
"""The name of the bundled model."""
_BUNDLED = Path(__file__).with_name("default.onnx")


def resolve_model(name_or_file: str | Path) -> Path:
    """Resolves a model name or path to a file.

    Args:
        name_or_file: a .onnx or .safetensors file, `default` for the bundled model, or the name of
            a downloaded and converted model.

    Raises:
        InputError: the file does not exist, or the model is not downloaded or not converted.
    """
    if str(name_or_file) == DEFAULT_MODEL:
        return _BUNDLED
    with reading(name_or_file):
        if Path(name_or_file).is_file():
            return Path(name_or_file)
    if str(name_or_file) not in {model.name for model in PUBLISHED}:
        raise InputError(
            f"{name_or_file}: no such model file; `higherhrnet models` lists the published models"
        )
    path = cache_folder() / f"{name_or_file}.safetensors"
    raw = path.with_suffix(".pth")
    with reading(path):
        is_converted, is_downloaded = path.is_file(), raw.is_file()
    if is_downloaded and not is_converted:
        raise InputError(
            f"{name_or_file} is downloaded but not converted; install PyTorch "
            f'(pip install "higherhrnet[torch]") and run: higherhrnet convert {raw} {path}'
        )
    if not is_converted:
        raise InputError(
            f"{name_or_file} is not downloaded; run: higherhrnet download {name_or_file}"
        )
    return path


def torch_weights(path: Path) -> Path:
    """Returns the file of a model that PyTorch can read.

    That of the bundled model is its .safetensors file; its .onnx file allows inference without
    PyTorch. Any other path is returned unchanged.
    """
    return path.with_suffix(".safetensors") if path == _BUNDLED else path
