"""What waits for the network."""

import asyncio
import threading
import weakref
from collections.abc import Sequence

import numpy as np

from higherhrnet.config import Header
from higherhrnet.engines.base import FunctionEngine
from higherhrnet.inference.predictor import Predictor, PreprocessedImage
from higherhrnet.inference.processing import Outputs
from higherhrnet.serving.batching import Batcher, Shown

PREDICTOR = Predictor(FunctionEngine("none", lambda _: []), Header())


def test_who_leaves_takes_the_pixels_along() -> None:
    """Long before the network, busy with others, comes to see that nobody wants them."""

    async def check() -> None:
        batcher = Batcher(lambda _: [], batch=1, streams=1)
        prepared = PreprocessedImage({}, {1.0: np.zeros((1, 3, 32, 32), np.float32)})
        pixels = weakref.ref(prepared)
        waiting = asyncio.create_task(batcher(PREDICTOR, prepared))
        del prepared
        await asyncio.sleep(0)
        assert pixels()
        waiting.cancel()
        await asyncio.wait([waiting])
        del waiting
        assert pixels() is None

    asyncio.run(check())


def test_streams_share_what_waits() -> None:
    """One call with four photographs would leave the other streams idle."""
    together = threading.Barrier(2, timeout=30)
    batches = []

    def run(photographs: Sequence[Shown]) -> list[Outputs]:
        batches.append(len(photographs))
        together.wait()
        return [{} for _ in photographs]

    async def check() -> None:
        batcher = Batcher(run, batch=4, streams=2)
        photographs = [PreprocessedImage({}, {}) for _ in range(16)]
        tasks = [asyncio.create_task(batcher(PREDICTOR, prepared)) for prepared in photographs]
        waiting, left = tasks[:4], tasks[4:]
        await asyncio.sleep(0)
        for task in left:  # who has gone is not counted
            task.cancel()
        await asyncio.wait(left)
        work = asyncio.create_task(batcher.work())
        await asyncio.gather(*waiting)
        work.cancel()

    asyncio.run(check())
    assert batches == [2, 2]
