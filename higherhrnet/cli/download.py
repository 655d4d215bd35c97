"""download: downloads and converts a published model."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

from tyro.conf import Positional, arg

from higherhrnet.cli.convert import convert


def download(name: Annotated[Positional[str], arg(metavar="NAME")], /) -> int:
    """Download a published model into the cache folder and convert it.

    Args:
        name: The name of the model; `higherhrnet models` lists the names.
    """
    from higherhrnet.zoo.download import download_model
    from higherhrnet.zoo.published import published_model

    published = published_model(name)
    path = download_model(published)
    print(f"{path}: from {published.page}")
    if published.note:
        print(published.note)
    if published.weight_format == "imagenet":
        print("This is a backbone without heads, from which a training can start (--init).")
        return 0
    converted = path.with_suffix(".safetensors")
    if find_spec("torch"):
        return convert(path, converted, input_size=published.input_size)
    print(
        'It must be converted with PyTorch (pip install "higherhrnet[torch]"): '
        f"higherhrnet convert {path} {converted}"
    )
    return 0
