"""The steps from an image file to poses, timed in the process of one engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from higherhrnet.arrays import Image
from higherhrnet.bench.machine import peak_memory
from higherhrnet.bench.settings import BenchEngine, BenchSettings
from higherhrnet.bench.timing import cuda, timed
from higherhrnet.config.inference import DecodeConfig
from higherhrnet.engines.base import EngineOptions, Precision
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError, require
from higherhrnet.hardware import computes_bf16, usable_cores
from higherhrnet.inference.frames import FailedSource
from higherhrnet.inference.gpu import GpuProcessing
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.processing import Outputs, PreprocessedImage
from higherhrnet.inference.stream import predict_stream
from higherhrnet.io.sources import Source, read_frames
from higherhrnet.poses.poses import Poses
from higherhrnet.synthetic.maps import SYNTHESIZERS
from higherhrnet.zoo.resolve import torch_weights

R = TypeVar("R")
STEPS = "read", "preprocess", "network", "merge", "decode", "total"
_MIN_STREAM_IMAGES, _MIN_STREAM_SECONDS = 8, 2.0


class Task(NamedTuple):
    """A measurement in one process."""

    engine: BenchEngine | None
    """None for the reference implementation."""
    precision: Precision
    model: Path
    sources: tuple[Source, ...]
    settings: BenchSettings
    size: int | None
    """Length in pixels of the shorter side of the network's input; None: the model's."""
    streams: int = 1
    """Number of concurrent inference requests on the CPU."""

    @property
    def name(self) -> str:
        """The name of the engine in the results."""
        return f"{self.engine} {self.precision}" if self.engine else "reference implementation"


@dataclass(frozen=True)
class PipelineInfo:
    """Description and peak memory of a pipeline."""

    description: str
    height: int
    """Of the network's input, in pixels."""
    width: int
    flip: bool
    streams: int
    """Number of concurrent network calls."""
    peak_memory: dict[str, int]
    """Bytes of `ram` and, if it uses a GPU, of `gpu` memory."""


class LatencyRun(NamedTuple):
    """One image, or synthetic maps in place of its own."""

    milliseconds: dict[str, float]
    """The durations of read, preprocess, network, merge and decode, and their total."""
    poses: Poses


class TimedPredictor(Predictor):
    """A predictor that records the time in which its network runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (those of Predictor)
        super().__init__(*args, **kwargs)
        self.network_seconds: list[float] = []
        """The duration of each call of `forward`, from any thread."""

    def forward(self, images: Sequence[PreprocessedImage]) -> list[Outputs]:
        """Runs the network."""
        start = perf_counter()
        outputs = super().forward(images)
        self.network_seconds.append(perf_counter() - start)
        return outputs


class Pipeline:
    """One engine at one input size, with the published decoding settings and one scale.

    Raises:
        InputError: the engine is not installed, or cannot run the model with this precision.
    """

    def __init__(self, task: Task) -> None:
        self.sources, self.people = task.sources, sorted({*task.settings.people})
        self.synthetic: dict[int | None, Outputs] = {}  # by the number of people
        self.predictor = _load_predictor(task)
        config = self.predictor.config
        self.predictor.config = replace(
            config,
            size=task.size or config.size,
            flip=config.flip and not task.settings.no_flip,
            scales=(1.0,),
            decode=DecodeConfig(),
        )
        self.predictor(self._read_image())  # so that the peak memory is that of one image

    def _read_image(self) -> Image:
        return next(read_frames(self.sources[0])).image

    def describe(self) -> PipelineInfo:
        """Describes the pipeline."""
        predictor, device = self.predictor, cuda()
        description = predictor.engine.description
        description += f", {device.get_device_name()}" if device else ""
        resize = predictor.resizes(*self._read_image().shape[:2])[1.0]
        size, flip = (resize.height, resize.width), predictor.config.flip
        streams = predictor.processing.streams
        return PipelineInfo(description, *size, flip, streams, peak_memory())

    def measure_latency(self) -> dict[int | None, LatencyRun]:
        """Predicts the first image, and decodes synthetic maps of its size.

        Returns:
            A run with the network's own maps (None), and one for each number of synthetic people.
        """
        predictor = self.predictor
        read, image = timed(self._read_image)
        preprocess, preprocessed = timed(predictor.preprocess, image)
        network, (outputs,) = timed(predictor.forward, [preprocessed])
        self.synthetic = self.synthetic or {
            people: synthetic_outputs(predictor, preprocessed, people) for people in self.people
        }
        runs = {}
        for people, each in ({None: outputs} | self.synthetic).items():
            merge, maps = timed(predictor.merge_maps, preprocessed, each)
            decode, poses = timed(predictor.decode_maps, preprocessed, maps)
            seconds = read, preprocess, network, merge, decode
            values = [1e3 * value for value in (*seconds, sum(seconds))]
            runs[people] = LatencyRun(dict(zip(STEPS, values, strict=True)), poses)
        return runs

    def measure_throughput(self) -> tuple[float, float]:
        """Predicts all images, over and over for at least two seconds.

        Returns:
            Images per second, and the share of the time in which network calls are in progress,
            0 to 1, averaged over the streams.
        """
        predictor = self.predictor
        assert isinstance(predictor, TimedPredictor)
        predictor.network_seconds.clear()
        stream = predict_stream(predictor, self._repeated(), lambda result: result.poses)
        seconds, results = timed(lambda: list(stream))
        for result in results:
            if isinstance(result, FailedSource):
                raise result.reason
        busy = sum(predictor.network_seconds) / predictor.processing.streams
        return len(results) / seconds, busy / seconds

    def _repeated(self) -> Iterator[Source]:
        start, images = perf_counter(), max(_MIN_STREAM_IMAGES, len(self.sources))
        for count, source in enumerate(cycle(self.sources)):
            if count >= images and perf_counter() - start > _MIN_STREAM_SECONDS:
                return
            yield source


def _load_predictor(task: Task) -> Predictor:
    threads = task.settings.threads or usable_cores()
    if task.engine:
        model, streams = str(task.model), task.streams
        compiled = task.settings.compile and task.engine == "torch"
        options = EngineOptions(model, task.engine, task.precision, threads, streams, compiled)
        predictor = TimedPredictor.from_options(options)
        if not task.settings.precisions and task.precision == "bf16":
            _require_bf16(predictor)
        return predictor
    missing = [name for name in ("torch", "safetensors", "munkres") if not find_spec(name)]
    if missing:
        raise InputError(f'needs {" and ".join(missing)}: pip install "higherhrnet[bench]"')
    from higherhrnet.reference.predictor import ReferencePredictor

    return ReferencePredictor.from_file(torch_weights(task.model), threads)


def _require_bf16(predictor: Predictor) -> None:
    """Raises an InputError if the engine emulates bf16, as only PyTorch does."""
    engine = predictor.engine
    require(
        not isinstance(engine, TorchEngine) or computes_bf16(engine.device),
        "this device has no bf16 instructions, and emulating them is slow; to measure it, use "
        "--precisions bf16",
    )


def synthetic_outputs(
    predictor: Predictor, preprocessed: PreprocessedImage, people: int
) -> Outputs:
    """The outputs of a network that finds this number of people."""
    resize, skeleton = preprocessed.base_resize, predictor.header.skeleton
    flip = predictor.config.flip
    synthesize = SYNTHESIZERS[predictor.header.model.head]
    levels = synthesize(people, resize.height, resize.width, 0, skeleton, flip)
    if isinstance(predictor.processing, GpuProcessing):  # whose `forward` merges views and strides
        return {1.0: [*predictor.processing.merge_arrays(levels)]}
    return {1.0: [*levels]}


_load = cache(Pipeline)


def call(task: Task, method: Callable[[Pipeline], R]) -> R:
    """Calls a method of the pipeline of this process, which the first call loads."""
    return method(_load(task))
