"""Downloads and converts published models into the cache."""

from __future__ import annotations

from pathlib import Path

from higherhrnet.errors import InputError, require
from higherhrnet.io.cache import cache_folder, writing_to_cache
from higherhrnet.zoo.download import address, download_model, locked, storing
from higherhrnet.zoo.published_model import PublishedModel


def fetch_model(model: PublishedModel) -> Path:
    """Returns the file of a published model, which is downloaded and converted if necessary.

    If several processes need the same model, one of them fetches it while the others wait. The
    downloaded file is deleted after the conversion.

    Args:
        model: a pose model.

    Returns:
        The .safetensors file in the cache.

    Raises:
        InputError: the model is a backbone, it cannot be downloaded, the file is not the published
            one, or the cache cannot be written to.
    """
    require(
        model.weight_format != "imagenet",
        f"{model.name} is a backbone without heads, which finds no people; train a network that "
        f"starts from it: higherhrnet train RECIPE --init {model.name}",
    )
    target = cached_file(model)
    with storing(model, target.parent):
        if target.is_file():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_suffix(".converting.lock"), model):
            if not target.is_file():
                _convert(model, download_model(model), target)
    return target


def cached_file(model: PublishedModel) -> Path:
    """Returns the path of a converted model in the cache, whether or not it exists."""
    return cache_folder() / f"{model.name}.safetensors"


def _convert(model: PublishedModel, source: Path, target: Path) -> None:
    # Imported here, since they import onnx, which models in the cache do not need.
    from higherhrnet.io.weights import write_weights
    from higherhrnet.zoo.convert import convert_weights

    try:
        weights, header = convert_weights(source, input_size=model.input_size)
    except InputError as error:
        raise InputError(
            f"{error}; the file was downloaded from {address(model)}, and {model.page} may have a "
            "newer link"
        ) from error
    with writing_to_cache():
        write_weights(target, weights, header)
    source.unlink()
