"""models: lists the published models."""

from __future__ import annotations


def models() -> int:
    """List the published models that `higherhrnet download` can download."""
    from higherhrnet.zoo.published import PUBLISHED, format_models

    print(format_models(PUBLISHED))
    return 0
