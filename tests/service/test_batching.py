"""What waits for the network."""

import asyncio
import weakref

import numpy as np

from higherhrnet.inference.predictor import Prepared
from higherhrnet.service.batching import Batcher


def test_who_leaves_takes_the_pixels_along() -> None:
    """Long before the network, busy with others, comes to see that nobody wants them."""

    async def check() -> None:
        batcher = Batcher(lambda _: [], batch=1)
        prepared = Prepared({}, {1.0: np.zeros((1, 3, 32, 32), np.float32)})
        pixels = weakref.ref(prepared)
        waiting = asyncio.create_task(batcher(prepared))
        del prepared
        await asyncio.sleep(0)
        assert pixels()
        waiting.cancel()
        await asyncio.wait([waiting])
        del waiting
        assert pixels() is None

    asyncio.run(check())
