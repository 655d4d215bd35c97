"""Many frames go around the network in order, a few at a time, and one's failure stays its own."""

import gc
import threading
import weakref
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from higherhrnet import Predictor
from higherhrnet.arrays import FloatArray, Image
from higherhrnet.config import Header, InputConfig
from higherhrnet.engines.base import Engine, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.inference.stream import FailedSource, FrameResult, predict_stream
from higherhrnet.io.sources import Source
from tests.conftest import Model

SHAPES = [(64, 64), (64, 96), (96, 64)]


class Watched(Engine):
    """Maps of nobody, or a real engine's; notes each batch and fails on pictures that are white."""

    description = "watched"

    def __init__(self, engine: Engine | None = None, streams: int = 1) -> None:
        self.engine, self.streams, self.batches = engine, streams, list[tuple[int, ...]]()
        self.enough = threading.Event()

    def __call__(self, images: FloatArray) -> list[FloatArray]:
        self.batches.append(images.shape)
        if len(self.batches) == 3:
            self.enough.set()
        if images.min((1, 2, 3)).max() > 2:
            raise InputError("out of memory")
        if self.engine:
            return list(self.engine(images))
        views, _, height, width = images.shape
        return [
            np.zeros((views, 34, height // 4, width // 4), np.float32),
            np.zeros((views, 17, height // 2, width // 2), np.float32),
        ]


def sources(count: int) -> Iterator[Source]:
    return (Source(str(number), Path(f"{number}.png")) for number in range(count))


def picture(source: Source) -> Image:
    """One of three shapes; the tenth and its multiples are white."""
    number = int(source.name)
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    image = np.kron(coarse, np.ones((12, 12, 1), np.uint8))
    height, width = SHAPES[number % 3]
    return np.full_like(image, 255) if number % 10 == 9 else image[:height, :width].copy()


def name_of(found: FrameResult) -> str:
    return found.frame.source.name


@pytest.mark.parametrize("streams", [1, 5])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_frames_keep_their_order_and_failures_their_place(batch_size: int, streams: int) -> None:
    engine = Watched(streams=streams)
    predictor = Predictor(engine, Header(input=InputConfig(64)), batch_size=batch_size)
    results = list(predict_stream(predictor, sources(40), name_of, read=picture))
    for number, result in enumerate(results):
        if number % 10 == 9:
            assert isinstance(result, FailedSource)
            assert (result.source.name, result.read) == (str(number), True)
            assert str(result.reason) == f"{number}: out of memory"
        else:
            assert result == str(number)
    assert len(results) == 40
    assert {views for views, *_ in engine.batches} <= set(range(2, max(2, batch_size) + 1, 2))


def test_batches_find_what_each_alone_finds(lively: Model) -> None:
    runner, header = load_engine(EngineOptions(str(lively.onnx), "onnxruntime", threads=1))
    predictor = Predictor(Watched(runner), header, batch_size=8)
    for number, poses in enumerate(
        predict_stream(predictor, sources(9), lambda found: found.poses, read=picture)
    ):
        assert not isinstance(poses, FailedSource)
        alone = predictor(picture(Source(str(number), Path())))
        assert len(poses) == len(alone) > 0
        np.testing.assert_allclose(poses.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(poses.keypoint_scores, alone.keypoint_scores, atol=1e-5)


def test_the_network_goes_on_while_the_caller_works() -> None:
    engine = Watched()
    predictor = Predictor(engine, Header(input=InputConfig(64)))
    results = predict_stream(predictor, sources(8), name_of, read=picture)
    assert next(results) == "0"
    assert engine.enough.wait(30)  # two more, though nobody asked for them yet
    assert list(results) == [str(number) for number in range(1, 8)]


def test_an_engine_is_called_in_as_many_threads_as_it_has_streams() -> None:
    together = threading.Barrier(5, timeout=30)

    class Waits(Watched):
        def __call__(self, images: FloatArray) -> list[FloatArray]:
            if images.shape[2] > 64:  # what is left after these would wait for others in vain
                together.wait()
            return super().__call__(images)

    predictor = Predictor(Waits(streams=5), Header(input=InputConfig(64)))
    small, tall = np.zeros((64, 64, 3), np.uint8), np.zeros((96, 64, 3), np.uint8)
    shown = predict_stream(
        predictor, sources(12), name_of, read=lambda it: tall if int(it.name) < 10 else small
    )
    assert list(shown) == [str(number) for number in range(12)]


@pytest.mark.parametrize("streams", [1, 5])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_few_pictures_are_alive_at_once(batch_size: int, streams: int) -> None:
    seen: list[weakref.ref[Image]] = []
    counts = []

    def read(source: Source) -> Image:
        image = picture(Source(str(int(source.name) % 9), Path()))
        seen.append(weakref.ref(image))
        return image

    engine = Watched(streams=streams)
    predictor = Predictor(engine, Header(input=InputConfig(64)), batch_size=batch_size)
    for _ in islice(predict_stream(predictor, sources(10**9), name_of, read=read), 300):
        gc.collect(0)
        counts.append(sum(image() is not None for image in seen))
    depth = min(2 * usable_cores(), 8)
    under_way = max(4, 2 * streams) * predictor.images_per_batch
    assert max(counts) <= 2 * depth + under_way + usable_cores()
