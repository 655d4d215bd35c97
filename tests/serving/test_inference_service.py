"""Photographs of many requests through one network, on a CPU or where a GPU would be."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray
from higherhrnet.config import Header, InputConfig
from higherhrnet.engines.base import Engine
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.images import encode_image
from higherhrnet.poses import Poses
from higherhrnet.serving.inference_service import InferenceService
from higherhrnet.serving.limits import ServingLimits
from higherhrnet.serving.metrics import ServiceMetrics
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.models import resolve_model, torch_weights

PHOTOGRAPH = Path(__file__).parents[2] / "examples" / "basketball1.png"


def found(finder: InferenceService, files: list[bytes], flips: list[bool | None]) -> list[Poses]:
    """Each file's people, all asked for at the same time."""

    async def ask() -> list[Poses]:
        async with finder.working():
            asked = [
                finder.find(finder.predictor_with(flip, None), [data], lambda it: it.poses)
                for data, flip in zip(files, flips, strict=True)
            ]
            return [poses for (poses,) in await asyncio.gather(*asked)]

    return asyncio.run(ask())


def test_a_device_serves_each_request_as_it_wishes() -> None:
    """A CPU stands for the GPU; mirrored or not, alone and in one batch with others."""
    pytest.importorskip("torch")
    from higherhrnet.engines.torch import TorchEngine
    from higherhrnet.inference.gpu import GpuProcessing
    from higherhrnet.network import checkpoint

    model, header = checkpoint.load(torch_weights(resolve_model("default")))
    engine = TorchEngine(model, "cpu")
    usual = Predictor(engine, header)
    there = Predictor(engine, header, batch_size=32, processing=GpuProcessing(engine, header))
    data, flips = PHOTOGRAPH.read_bytes(), [None, False, True, False]
    expected = {flip: usual.with_flip(flip)(PHOTOGRAPH) for flip in (False, True)}
    assert not np.array_equal(expected[True].scores, expected[False].scores)
    served = found(InferenceService(there, ServingLimits(), ServiceMetrics()), [data] * 4, flips)
    for poses, flip in zip(served, flips, strict=True):
        wanted = expected[header.inference.flip if flip is None else flip]
        np.testing.assert_allclose(poses.keypoint_scores, wanted.keypoint_scores, atol=1e-4)
        np.testing.assert_allclose(poses.keypoints, wanted.keypoints, atol=1e-2)


@pytest.mark.parametrize("batch", [1, 4])
def test_all_streams_are_used(batch: int) -> None:
    together = threading.Barrier(5, timeout=30)

    class Waits(Engine):
        description, streams = "waits", 5

        def __call__(self, images: FloatArray) -> list[FloatArray]:
            together.wait()
            views, _, height, width = images.shape
            return [np.zeros((views, 34, height // 4, width // 4), np.float32)]

    finder = InferenceService(
        Predictor(Waits(), Header(input=InputConfig(64))),
        ServingLimits(batch=batch),
        ServiceMetrics(),
    )
    data = encode_image(draw_scene(0, height=64, width=64).image, ".png")
    assert [len(poses) for poses in found(finder, [data] * 5, [None] * 5)] == [0] * 5
