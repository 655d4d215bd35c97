"""The files of a model: the bundled one, a downloaded one, or the user's own."""

from __future__ import annotations

from pathlib import Path

from higherhrnet.errors import InputError
from higherhrnet.io.cache import cache_folder
from higherhrnet.zoo.published import PUBLISHED

DEFAULT_MODEL = "default"
"""The name of the bundled model."""
_BUNDLED = Path(__file__).with_name("default.onnx")


def resolve_model(name_or_file: str | Path) -> Path:
    """The file of a model.

    Args:
        name_or_file: a .onnx or .safetensors file, `default` for the bundled model, or the name of
            a downloaded and converted model.

    Raises:
        InputError: there is no such file, or the model is not downloaded or not converted.
    """
    if str(name_or_file) == DEFAULT_MODEL:
        return _BUNDLED
    if Path(name_or_file).is_file():
        return Path(name_or_file)
    if str(name_or_file) not in {model.name for model in PUBLISHED}:
        raise InputError(
            f"{name_or_file}: no such model file; `higherhrnet models` lists the published models"
        )
    path = cache_folder() / f"{name_or_file}.safetensors"
    raw = path.with_suffix(".pth")
    if not path.is_file() and raw.is_file():
        raise InputError(
            f"{name_or_file} is downloaded but not converted; where PyTorch is installed, run: "
            f"higherhrnet convert {raw} {path}"
        )
    if not path.is_file():
        raise InputError(
            f"{name_or_file} is not downloaded; run: higherhrnet download {name_or_file}"
        )
    return path


def torch_weights(path: Path) -> Path:
    """The form of a model that PyTorch reads.

    The bundled model has both forms, so that it runs without PyTorch and can be trained further;
    any other file is returned as it is.
    """
    return path.with_suffix(".safetensors") if path == _BUNDLED else path
