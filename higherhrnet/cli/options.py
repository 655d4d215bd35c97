"""Flags and functions that several commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff

from higherhrnet.config.flags import flag
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.engines.base import MAX_STREAMS, EngineOptions
from higherhrnet.errors import InputError
from higherhrnet.io.atomic import atomic_path

if TYPE_CHECKING:
    from higherhrnet.inference.predictor import Predictor

Flag = FlagCreatePairsOff[bool]
"""A flag that is off unless it is given."""


@dataclass(frozen=True)
class SettingsOptions:
    """The inference settings that replace those of the model."""

    size: Annotated[int | None, flag("the model's setting", "INT")] = None
    """Length in pixels of the shorter side of the network's input. It must be a multiple of 32 and
    is rounded up to a multiple of 64. Smaller values are faster and miss small people."""
    flip: Annotated[Flag, flag("the model's setting")] = False
    """Also run the network on the horizontally flipped image and average the maps. Doubles the
    computation. Excludes --no-flip."""
    no_flip: Annotated[Flag, flag("the model's setting")] = False
    """Do not use the flipped image."""
    scales: Annotated[tuple[float, ...], flag("the model's setting")] = ()
    """Scales at which each image is processed, relative to --size, for example 0.5 1 2. Several
    scales must include 1. Heatmaps are averaged over the scales; tags are taken from scale 1."""
    fast: Flag = False
    """Run the network once for each image, as --no-flip --scales 1 do. Faster and less accurate.
    Excludes --flip and --scales."""
    min_score: Annotated[float | None, flag("the model's setting", "FLOAT")] = None
    """Omit people whose score is below this value, 0 to 1. The score of a person is the mean
    heatmap value of all keypoints; missing keypoints count as 0. Networks that predict offsets
    multiply it by the value of the person's center or its square root. A
    rescoring network in the model file multiplies the score by its prediction, or its prediction
    is the score."""

    def apply(self, config: InferenceConfig) -> InferenceConfig:
        """Returns the settings of the model with those that the flags change.

        Raises:
            InputError: flags exclude each other.
        """
        if self.flip and self.no_flip:
            raise InputError("--flip and --no-flip exclude each other; use only one of them")
        if self.fast and (self.flip or self.scales):
            raise InputError("--fast excludes --flip and --scales; omit it or them")
        min_score = config.decode.min_score if self.min_score is None else self.min_score
        return replace(
            config,
            size=config.size if self.size is None else self.size,
            flip=(config.flip or self.flip) and not (self.no_flip or self.fast),
            scales=(1.0,) if self.fast else self.scales or config.scales,
            decode=replace(config.decode, min_score=min_score),
        )


@dataclass(frozen=True)
class InferenceOptions(SettingsOptions, EngineOptions):
    """The model, the engine, and the inference settings that replace those of the model."""

    def engine_options(self) -> EngineOptions:
        """Returns the options that select the model and the engine."""
        return EngineOptions(**{f.name: getattr(self, f.name) for f in fields(EngineOptions)})

    def load(self, streams: int = MAX_STREAMS) -> Predictor:
        """Loads the model with the settings that the flags change.

        Args:
            streams: number of concurrent inference requests if --streams is not given.

        Raises:
            InputError: flags exclude each other, or the model or the engine cannot be used.
        """
        from higherhrnet.inference.predictor import Predictor

        self.apply(InferenceConfig())  # reports invalid flags before the model is loaded
        options = self.engine_options()
        if options.streams is None:
            options = replace(options, streams=streams)
        predictor = Predictor.from_options(options)
        predictor.config = self.apply(predictor.config)
        return predictor


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file; it appears complete or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
