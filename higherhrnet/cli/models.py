"""models: the published models that can be downloaded."""

from __future__ import annotations


def models() -> int:
    """List the published models that can be downloaded."""
    from higherhrnet.zoo.published import PUBLISHED, format_models

    print(format_models(PUBLISHED))
    return 0
