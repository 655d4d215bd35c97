"""download: downloads and converts a published model."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg


def download(name: Annotated[Positional[str], arg(metavar="NAME")], /) -> int:
    """Download a published model into the cache folder and convert it.

    `predict`, `evaluate` and the other commands download a model when it is first used; this
    command does so in advance, for example for a machine without a network connection.

    Args:
        name: The name of the model; `higherhrnet models` lists the names.
    """
    from higherhrnet.zoo.download import download_model
    from higherhrnet.zoo.fetch import fetch_model
    from higherhrnet.zoo.published import published_model

    model = published_model(name)
    if model.weight_format == "imagenet":
        print(f"{download_model(model)}: a backbone without heads, from {model.page}")
        print(f"A training can start from it: higherhrnet train RECIPE --init {name}")
        return 0
    print(f"{fetch_model(model)}: from {model.page}")
    return 0
