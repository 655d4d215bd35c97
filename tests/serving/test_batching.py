"""Batches: canceled requests free their memory, and streams share the waiting images."""

import asyncio
import threading
import weakref
from collections.abc import Sequence

import numpy as np

from higherhrnet.config.header import Header
from higherhrnet.engines.base import FunctionEngine
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.processing import Outputs, PreprocessedImage
from higherhrnet.serving.batching import Batcher, BatchItem

PREDICTOR = Predictor(FunctionEngine("none", lambda _: []), Header())


def test_a_canceled_request_frees_its_pixels() -> None:
    """The pixels are freed at once, although the busy network has not yet reached the request."""

    async def check() -> None:
        batcher = Batcher(lambda _: [], batch_size=1, streams=1)
        preprocessed = PreprocessedImage({}, {1.0: np.zeros((1, 3, 32, 32), np.float32)})
        pixels = weakref.ref(preprocessed)
        waiting = asyncio.create_task(batcher(PREDICTOR, preprocessed))
        del preprocessed
        await asyncio.sleep(0)
        assert pixels()
        waiting.cancel()
        await asyncio.wait([waiting])
        del waiting
        assert pixels() is None

    asyncio.run(check())


def test_idle_streams_share_the_waiting_images() -> None:
    """Two idle streams compute two images each; one batch of four would leave a stream idle."""
    both_streams = threading.Barrier(2, timeout=30)
    batch_sizes = []

    def forward(items: Sequence[BatchItem]) -> list[Outputs]:
        batch_sizes.append(len(items))
        both_streams.wait()
        return [{} for _ in items]

    async def check() -> None:
        batcher = Batcher(forward, batch_size=4, streams=2)
        images = [PreprocessedImage({}, {}) for _ in range(16)]
        tasks = [asyncio.create_task(batcher(PREDICTOR, image)) for image in images]
        waiting, canceled = tasks[:4], tasks[4:]
        await asyncio.sleep(0)
        for task in canceled:
            task.cancel()
        await asyncio.wait(canceled)
        worker = asyncio.create_task(batcher.run())
        await asyncio.gather(*waiting)
        worker.cancel()

    asyncio.run(check())
    assert batch_sizes == [2, 2]
