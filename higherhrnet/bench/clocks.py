"""A predictor and an engine that tell where their time goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache, partial
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.decoding.aggregate import Maps
from higherhrnet.engines.base import Engine
from higherhrnet.inference.predictor import Predictor, PreprocessedImage
from higherhrnet.inference.processing import Outputs
from higherhrnet.skeleton import Skeleton
from higherhrnet.synthetic.maps import draw_maps


def gpu() -> Any:  # noqa: ANN401 (a module)
    """`torch.cuda` if this process uses it, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_initialized() else None


def now() -> float:
    """Seconds, once a GPU has done what it was given."""
    if cuda := gpu():
        cuda.synchronize()
    return perf_counter()


class Clocked(Predictor):
    """A predictor that notes how much of `read` is merging."""

    merging = 0.0
    """Seconds, the last time."""

    def merge_maps(self, prepared: PreprocessedImage, outputs: Outputs) -> Maps:
        """As the predictor."""
        start = now()
        maps = super().merge_maps(prepared, outputs)
        self.merging = now() - start
        return maps


@cache
def drawn(
    people: int, height: int, width: int, skeleton: Skeleton, flip: bool
) -> tuple[FloatArray, FloatArray]:
    """The same maps each time; see `draw_maps`."""
    return draw_maps(people, height, width, seed=0, skeleton=skeleton, flip=flip)


class Watched(Engine):
    """An engine that notes how long it works, and may give drawn maps for its own.

    Args:
        engine: does the work.
        people: how many are drawn; None for the engine's own maps.
        skeleton: theirs.
        flip: whether every second image is a mirrored one.
    """

    def __init__(self, engine: Engine, people: int | None, skeleton: Skeleton, flip: bool) -> None:
        self.engine, self.description, self.streams = engine, engine.description, engine.streams
        self.seconds, self._adding = 0.0, Lock()
        self._draw = None if people is None else partial(drawn, people)
        self._skeleton, self._flip = skeleton, flip

    def __call__(self, images: FloatArray) -> Sequence[FloatArray]:
        """As an engine."""
        start = now()
        outputs = self.engine(images)
        with self._adding:
            self.seconds += now() - start
        if self._draw is None:
            return outputs
        maps = self._draw(*images.shape[2:], self._skeleton, self._flip)
        times = len(images) // len(maps[0])
        return maps if times == 1 else [np.tile(level, (times, 1, 1, 1)) for level in maps]
