"""How a model looks at photographs: the flags that predict and evaluate share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from tyro.conf import FlagCreatePairsOff, arg

from higherhrnet.engines.base import MAX_STREAMS, EngineName, Precision
from higherhrnet.errors import InputError

if TYPE_CHECKING:
    from higherhrnet.inference.predictor import Predictor

Flag = FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class InferenceOptions:
    """How a model looks at photographs."""

    model: Annotated[str, arg(aliases=["-m"], metavar="FILE|NAME")] = "default"
    """A .onnx or .safetensors file, or the name of a downloaded model; default is in the box."""
    size: Annotated[int | None, arg(metavar="INT")] = None
    """Pixels of the photograph's shorter side as the network sees it, a multiple of 32; smaller is
    faster."""
    flip: Flag = False
    """Look at the mirrored photograph too, even if the model's own settings do not."""
    no_flip: Flag = False
    """Do not, even if they do."""
    scales: tuple[float, ...] = ()
    """Sizes to look at relative to the model's own, 1 among several: --scales 0.5 1 2."""
    fast: Flag = False
    """Look once: neither mirrored nor at other sizes, whatever the model's own settings."""
    min_score: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Leave out people below this score, 0 to 1."""
    engine: EngineName = "auto"
    """What runs the network; auto takes the fastest that is installed."""
    precision: Precision = "f32"
    """Of the network's arithmetic."""
    threads: Annotated[int | None, arg(metavar="INT")] = None
    """On the CPU; all cores if not said."""
    streams: Annotated[int | None, arg(metavar="INT")] = None
    """Photographs in the network at the same time, which share the threads of the CPU; if not said
    up to four where there are as many, and one in serve. Torch has its own."""

    def predictor(self, streams: int = MAX_STREAMS) -> Predictor:
        """The model, with its own settings but for what was asked for.

        Args:
            streams: photographs in the network at the same time, if --streams does not say.

        Raises:
            InputError: the flags contradict each other, or the model or engine cannot be used.
        """
        from higherhrnet.inference.predictor import Predictor

        if self.flip and self.no_flip:
            raise InputError("--flip and --no-flip: say one of them")
        if self.fast and (self.flip or self.scales):
            raise InputError("--fast is to look once: leave out --flip and --scales")
        predictor = Predictor.load(
            self.model,
            engine=self.engine,
            precision=self.precision,
            threads=self.threads,
            streams=streams if self.streams is None else self.streams,
        )
        test = predictor.config
        least = test.decode.min_score if self.min_score is None else self.min_score
        predictor.config = replace(
            test,
            size=self.size or test.size,
            flip=(test.flip or self.flip) and not (self.no_flip or self.fast),
            scales=(1.0,) if self.fast else self.scales or test.scales,
            decode=replace(test.decode, min_score=least),
        )
        return predictor
