"""Tests of prediction for many frames: order, batches, concurrency, failures and memory."""

import gc
import re
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from higherhrnet import Predictor
from higherhrnet.arrays import FloatArray, Image
from higherhrnet.config.header import Header
from higherhrnet.config.model import InputConfig
from higherhrnet.engines.base import Engine, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.inference import stream
from higherhrnet.inference.frames import FailedSource, FrameResult
from higherhrnet.inference.stream import predict_stream
from higherhrnet.io.sources import Source
from tests.conftest import ModelFiles

SHAPES = [(64, 64), (64, 96), (96, 64)]


class RecordingEngine(Engine):
    """Records the shapes of its batches, and fails on images that are white.

    The maps are those of another engine, or contain nobody.
    """

    description = "recording"

    def __init__(self, engine: Engine | None = None, streams: int = 1) -> None:
        self.engine, self.streams, self.batches = engine, streams, list[tuple[int, ...]]()
        self.third_call = threading.Event()

    def __call__(self, images: FloatArray) -> list[FloatArray]:
        self.batches.append(images.shape)
        if len(self.batches) == 3:
            self.third_call.set()
        if images.min((1, 2, 3)).max() > 2:
            raise InputError("out of memory")
        if self.engine:
            return list(self.engine(images))
        views, _, height, width = images.shape
        return [
            np.zeros((views, 34, height // 4, width // 4), np.float32),
            np.zeros((views, 17, height // 2, width // 2), np.float32),
        ]


def numbered_sources(count: int) -> Iterator[Source]:
    return (Source(str(number), Path(f"{number}.png")) for number in range(count))


def random_image(source: Source) -> Image:
    """An image of one of three shapes; the images 9, 19, … are white."""
    number = int(source.name)
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    image = np.kron(coarse, np.ones((12, 12, 1), np.uint8))
    height, width = SHAPES[number % 3]
    return np.full_like(image, 255) if number % 10 == 9 else image[:height, :width].copy()


def source_name(result: FrameResult) -> str:
    return result.frame.source.name


@pytest.mark.parametrize("streams", [1, 5])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_results_and_failures_are_in_the_order_of_the_sources(
    batch_size: int, streams: int
) -> None:
    engine = RecordingEngine(streams=streams)
    predictor = Predictor(engine, Header(input=InputConfig(64)), batch_size=batch_size)
    results = list(predict_stream(predictor, numbered_sources(40), source_name, read=random_image))
    for number, result in enumerate(results):
        if number % 10 == 9:
            assert isinstance(result, FailedSource)
            assert (result.source.name, result.was_read) == (str(number), True)
            assert str(result.reason) == f"{number}: out of memory"
        else:
            assert result == str(number)
    assert len(results) == 40
    assert {views for views, *_ in engine.batches} <= set(range(2, max(2, batch_size) + 1, 2))


def test_results_of_a_camera_do_not_wait_for_its_next_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received = [threading.Event() for _ in range(4)]

    class SlowCamera:
        """A camera that provides each frame after the result of the previous one was received."""

        grabbed = -1

        def __init__(self, number: int) -> None:
            assert number == 0

        def isOpened(self) -> bool:
            return True

        def grab(self) -> bool:
            if self.grabbed >= 0 and not received[self.grabbed].wait(10):
                pytest.fail(f"no result of frame {self.grabbed}")
            self.grabbed += 1
            return self.grabbed < 4

        def retrieve(self) -> tuple[bool, Image]:
            return True, np.full((64, 64, 3), self.grabbed, np.uint8)

        def get(self, _: int) -> float:
            return 0.0

        def release(self) -> None:
            self.grabbed = 4

    monkeypatch.setattr(cv2, "VideoCapture", SlowCamera)
    predictor = Predictor(RecordingEngine(), Header(input=InputConfig(64)))
    camera = Source("camera0", 0)
    indices = []
    for result in predict_stream(predictor, [camera], lambda result: result.frame):
        assert not isinstance(result, FailedSource) and result.index is not None
        assert result.image.max() == result.index  # pixels and order belong together
        indices.append(result.index)
        received[result.index].set()
    assert indices == [0, 1, 2, 3]


def test_an_image_that_cannot_be_resized_is_a_failure() -> None:
    predictor = Predictor(RecordingEngine(), Header(input=InputConfig(1024)))
    images = [np.zeros((64, width, 3), np.uint8) for width in (64, 640, 64)]
    results = list(
        predict_stream(
            predictor,
            numbered_sources(3),
            source_name,
            read=lambda source: images[int(source.name)],
        )
    )
    assert (results[0], results[2]) == ("0", "2")
    failure = results[1]
    assert isinstance(failure, FailedSource) and not failure.was_read
    assert re.match(
        "1: an image of 640×64 pixels would be resized to 10240×1024", str(failure.reason)
    )


def test_maps_that_cannot_be_decoded_are_a_failure() -> None:
    class InvalidEngine(RecordingEngine):
        def __call__(self, images: FloatArray) -> list[FloatArray]:
            maps = super().__call__(images)
            if images.shape[3] > images.shape[2]:  # image 1, whichever image arrives first
                maps[0][:, 0, 3, 3] = np.nan
            return maps

    predictor = Predictor(InvalidEngine(), Header(input=InputConfig(64)))
    results = list(predict_stream(predictor, numbered_sources(3), source_name, read=random_image))
    assert (results[0], results[2]) == ("0", "2")
    failure = results[1]
    assert isinstance(failure, FailedSource) and failure.was_read
    assert re.match("1: .*NaN", str(failure.reason))


def test_an_unexpected_error_of_the_engine_ends_the_stream() -> None:
    class BrokenEngine(RecordingEngine):
        def __call__(self, images: FloatArray) -> list[FloatArray]:
            raise ZeroDivisionError

    predictor = Predictor(BrokenEngine(), Header(input=InputConfig(64)))
    with pytest.raises(ZeroDivisionError):
        list(predict_stream(predictor, numbered_sources(3), source_name, read=random_image))


def test_batches_give_the_results_of_single_images(small_model: ModelFiles) -> None:
    engine, header = load_engine(EngineOptions(str(small_model.onnx), "onnxruntime", threads=1))
    predictor = Predictor(RecordingEngine(engine), header, batch_size=8)
    results = predict_stream(
        predictor, numbered_sources(9), lambda result: result.poses, read=random_image
    )
    for number, poses in enumerate(results):
        assert not isinstance(poses, FailedSource)
        expected = predictor(random_image(Source(str(number), Path())))
        assert len(poses) == len(expected) > 0
        np.testing.assert_allclose(poses.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(poses.keypoint_scores, expected.keypoint_scores, atol=1e-5)


def test_the_network_runs_while_the_caller_processes_a_result() -> None:
    engine = RecordingEngine()
    predictor = Predictor(engine, Header(input=InputConfig(64)))
    results = predict_stream(predictor, numbered_sources(8), source_name, read=random_image)
    assert next(results) == "0"
    assert engine.third_call.wait(30)
    assert list(results) == [str(number) for number in range(1, 8)]


def test_an_engine_is_called_by_as_many_threads_as_it_has_streams() -> None:
    barrier = threading.Barrier(5, timeout=30)

    class BarrierEngine(RecordingEngine):
        def __call__(self, images: FloatArray) -> list[FloatArray]:
            if images.shape[2] > 64:
                barrier.wait()
            return super().__call__(images)

    predictor = Predictor(BarrierEngine(streams=5), Header(input=InputConfig(64)))
    small, tall = np.zeros((64, 64, 3), np.uint8), np.zeros((96, 64, 3), np.uint8)
    results = predict_stream(
        predictor,
        numbered_sources(12),
        source_name,
        read=lambda source: tall if int(source.name) < 10 else small,
    )
    assert list(results) == [str(number) for number in range(12)]


@pytest.mark.slow
def test_many_streams_process_each_frame_exactly_once() -> None:
    """Many threads take frames while frames are added, and switch as often as possible.

    A thread that fails to take a frame leaves the stream without its result, hence the time limit.
    Where frames are added without the lock, this fails in about five of six runs (Python 3.11).
    """

    class SlowEngine(RecordingEngine):
        def __call__(self, images: FloatArray) -> list[FloatArray]:
            time.sleep(0.0005)
            return super().__call__(images)

    engine = SlowEngine(streams=16)
    predictor = Predictor(engine, Header(input=InputConfig(64)))
    images = [np.zeros((*shape, 3), np.uint8) for shape in SHAPES]
    results: list[str | FailedSource] = []

    def predict() -> None:
        results.extend(
            predict_stream(
                predictor,
                numbered_sources(3000),
                source_name,
                read=lambda source: images[int(source.name) % 3],
            )
        )

    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=predict, daemon=True)
        thread.start()
        thread.join(300)
    finally:
        sys.setswitchinterval(switch_interval)
    assert not thread.is_alive()
    assert results == [str(number) for number in range(3000)]
    assert len(engine.batches) == 3000


@pytest.mark.parametrize(
    ("batch_size", "streams", "limit"), [(1, 1, 7), (1, 5, 15), (8, 1, 28), (8, 5, 92)]
)
def test_the_number_of_images_in_memory_is_bounded(
    batch_size: int, streams: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two cores: four images, three batches, and two batches for each further stream.

    The network is slower than reading, so that images wait for it.
    """
    monkeypatch.setattr(stream, "usable_cores", lambda: 2)
    images: list[weakref.ref[Image]] = []
    alive = []

    class SlowEngine(RecordingEngine):
        def __call__(self, images: FloatArray) -> list[FloatArray]:
            time.sleep(0.003)
            return super().__call__(images)

    def read(source: Source) -> Image:
        image = random_image(Source(str(int(source.name) % 30), Path()))
        images.append(weakref.ref(image))
        return image

    predictor = Predictor(
        SlowEngine(streams=streams), Header(input=InputConfig(64)), batch_size=batch_size
    )
    results = predict_stream(predictor, numbered_sources(10**9), source_name, read=read)
    for _ in islice(results, 300):
        gc.collect(0)
        alive.append(sum(image() is not None for image in images))
    in_finished_tasks = 5  # each thread refers to its last image until its next task
    assert max(alive) <= limit + in_finished_tasks


def test_few_large_images_are_in_memory_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two cores, 96 MB of images may be in memory: two of 4000×3000 pixels."""
    monkeypatch.setattr(stream, "usable_cores", lambda: 2)
    images: list[weakref.ref[Image]] = []
    alive = []

    def read(_: Source) -> Image:
        image = np.zeros((3000, 4000, 3), np.uint8)
        images.append(weakref.ref(image))
        return image

    def count_images(result: FrameResult) -> tuple[int, ...]:
        alive.append(sum(image() is not None for image in images))
        return result.frame.image.shape

    predictor = Predictor(RecordingEngine(), Header(input=InputConfig(64)))
    results = list(predict_stream(predictor, numbered_sources(12), count_images, read=read))
    assert results == [(3000, 4000, 3)] * 12
    assert max(alive) <= 3


def test_images_that_are_not_kept_are_freed_before_the_network_runs() -> None:
    images: list[weakref.ref[Image]] = []

    def read(source: Source) -> Image:
        image = random_image(source)
        images.append(weakref.ref(image))
        return image

    def finish(result: FrameResult) -> tuple[tuple[int, ...], bool]:
        return result.frame.image.shape, images[0]() is None

    predictor = Predictor(RecordingEngine(), Header(input=InputConfig(64)))
    sources = numbered_sources(1)
    (result,) = predict_stream(predictor, sources, finish, read=read, keep_images=False)
    assert result == ((64, 64, 3), True)
