"""Flags and functions that several commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff

from higherhrnet.engines.base import MAX_STREAMS, EngineOptions
from higherhrnet.errors import InputError
from higherhrnet.flags import flag
from higherhrnet.io.atomic import atomic_path

if TYPE_CHECKING:
    from higherhrnet.inference.predictor import Predictor

Flag = FlagCreatePairsOff[bool]
"""A flag that is off unless it is given."""


@dataclass(frozen=True)
class InferenceOptions(EngineOptions):
    """The model, the engine, and the inference settings that replace those of the model."""

    size: Annotated[int | None, flag("the model's setting", "INT")] = None
    """Length in pixels of the shorter side to which images are resized for the network, a multiple
    of 32. Smaller sizes are faster and miss small people."""
    flip: Flag = False
    """Also run the network on the horizontally flipped image and average the maps, even if the
    model's settings do not. Doubles the computation."""
    no_flip: Flag = False
    """Do not use the flipped image, even if the model's settings do."""
    scales: Annotated[tuple[float, ...], flag("the model's setting")] = ()
    """Sizes at which the network sees each image, as factors of --size, for example 0.5 1 2; must
    include 1 if there are several."""
    fast: Flag = False
    """Run the network once for each image: without the flipped image and at one scale, regardless
    of the model's settings. Faster and less accurate."""
    min_score: Annotated[float | None, flag("the model's setting", "FLOAT")] = None
    """Omit people whose score is below this value, 0 to 1."""

    def engine_options(self) -> EngineOptions:
        """The options that select the model and the engine."""
        return EngineOptions(**{f.name: getattr(self, f.name) for f in fields(EngineOptions)})

    def load(self, streams: int = MAX_STREAMS) -> Predictor:
        """Loads the model with the settings that the flags change.

        Args:
            streams: number of concurrent inference requests if --streams is not given.

        Raises:
            InputError: flags exclude each other, or the model or the engine cannot be used.
        """
        from higherhrnet.inference.predictor import Predictor

        if self.flip and self.no_flip:
            raise InputError("--flip and --no-flip exclude each other; use only one of them")
        if self.fast and (self.flip or self.scales):
            raise InputError("--fast excludes --flip and --scales; omit it or them")
        options = self.engine_options()
        if options.streams is None:
            options = replace(options, streams=streams)
        predictor = Predictor.from_options(options)
        config = predictor.config
        min_score = config.decode.min_score if self.min_score is None else self.min_score
        predictor.config = replace(
            config,
            size=self.size or config.size,
            flip=(config.flip or self.flip) and not (self.no_flip or self.fast),
            scales=(1.0,) if self.fast else self.scales or config.scales,
            decode=replace(config.decode, min_score=min_score),
        )
        return predictor


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file; it appears complete or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
