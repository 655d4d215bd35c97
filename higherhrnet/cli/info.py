"""info: describes a model file."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from higherhrnet.zoo.resolve import DEFAULT_MODEL


def info(model: Annotated[Positional[str], arg(metavar="[FILE|NAME]")] = DEFAULT_MODEL, /) -> int:
    """Print a model's architecture, number of parameters, multiply-adds and settings.

    Args:
        model: A .onnx or .safetensors file, or the name of a published model; `default` is the
            bundled model.
    """
    from higherhrnet.inference.model_info import describe_model

    print(describe_model(model))
    return 0
