"""Images of several requests share batches and streams, on a CPU or as on a GPU."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.model import InputConfig
from higherhrnet.engines.base import Engine
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.images import encode_image
from higherhrnet.poses.poses import Poses
from higherhrnet.serving.inference_service import InferenceService
from higherhrnet.serving.limits import ServingLimits
from higherhrnet.serving.metrics import ServiceMetrics
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.resolve import resolve_model, torch_weights

IMAGE = Path(__file__).parents[2] / "examples" / "basketball1.png"


def predict_concurrently(
    service: InferenceService, files: list[bytes], flips: list[bool | None]
) -> list[Poses]:
    """The poses of each file, which is a request of its own."""

    async def predict() -> list[Poses]:
        async with service.run():
            requests = [
                service.predict(service.predictor_with(flip, None), [data], lambda it: it.poses)
                for data, flip in zip(files, flips, strict=True)
            ]
            return [poses for (poses,) in await asyncio.gather(*requests)]

    return asyncio.run(predict())


@pytest.mark.slow
def test_each_request_has_its_own_settings_with_gpu_processing() -> None:
    """A CPU replaces the GPU; requests with and without the flipped view share a batch."""
    pytest.importorskip("torch")
    from higherhrnet.engines.torch import TorchEngine
    from higherhrnet.inference.gpu import GpuProcessing
    from higherhrnet.network import checkpoint

    model, header = checkpoint.load(torch_weights(resolve_model("default")))
    engine = TorchEngine(model, "cpu")
    with_cpu = Predictor(engine, header)
    with_gpu = Predictor(engine, header, batch_size=32, processing=GpuProcessing(engine, header))
    expected = {flip: with_cpu.with_flip(flip)(IMAGE) for flip in (False, True)}
    assert not np.array_equal(expected[True].scores, expected[False].scores)
    service = InferenceService(with_gpu, ServingLimits(), ServiceMetrics())
    flips = [None, False, True, False]
    results = predict_concurrently(service, [IMAGE.read_bytes()] * 4, flips)
    for poses, flip in zip(results, flips, strict=True):
        same = expected[header.inference.flip if flip is None else flip]
        np.testing.assert_allclose(poses.keypoint_scores, same.keypoint_scores, atol=1e-4)
        np.testing.assert_allclose(poses.keypoints, same.keypoints, atol=1e-2)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_all_streams_are_used(batch_size: int) -> None:
    all_streams = threading.Barrier(5, timeout=30)

    class WaitingEngine(Engine):
        description, streams = "waits until all streams are used", 5

        def __call__(self, images: FloatArray) -> list[FloatArray]:
            all_streams.wait()
            views, _, height, width = images.shape
            return [np.zeros((views, 34, height // 4, width // 4), np.float32)]

    service = InferenceService(
        Predictor(WaitingEngine(), Header(input=InputConfig(64))),
        ServingLimits(batch_size=batch_size),
        ServiceMetrics(),
    )
    data = encode_image(draw_scene(0, height=64, width=64).image, ".png")
    results = predict_concurrently(service, [data] * 5, [None] * 5)
    assert [len(poses) for poses in results] == [0] * 5


def test_an_error_of_the_engine_reaches_every_request_of_the_batch() -> None:
    class BrokenEngine(Engine):
        description, streams = "fails", 1

        def __call__(self, images: FloatArray) -> list[FloatArray]:
            raise ZeroDivisionError

    predictor = Predictor(BrokenEngine(), Header(input=InputConfig(64)), batch_size=2)
    service = InferenceService(predictor, ServingLimits(batch_size=2), ServiceMetrics())
    data = encode_image(draw_scene(0, height=64, width=64).image, ".png")

    async def predict() -> list[object]:
        async with service.run():
            requests = [service.predict(predictor, [data], lambda it: it.poses) for _ in range(3)]
            return [*await asyncio.gather(*requests, return_exceptions=True)]

    results = asyncio.run(predict())
    assert [type(result) for result in results] == [ZeroDivisionError] * 3
