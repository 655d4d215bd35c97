"""One network for many clients: what waits for it is taken together, oldest first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from higherhrnet.geometry import MAX_NETWORK_PIXELS
from higherhrnet.inference.predictor import Predictor, PreprocessedImage
from higherhrnet.inference.processing import Outputs

Shown = tuple[Predictor, PreprocessedImage]
"""A photograph, and who prepared it and will read its maps."""
Job = tuple[list[Shown], asyncio.Future[Outputs]]
"""A photograph, or none any more if nobody waits for it, and its outputs to come."""


class Batcher:
    """Runs photographs through a network, several at a time, in threads of its own.

    Args:
        run: gives the network's outputs for each of some photographs; called in a thread.
        batch: how many photographs it is given at once, at most.
        streams: calls that it works on at the same time.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Shown]], Sequence[Outputs]],
        batch: int,
        streams: int,
    ) -> None:
        self._run, self._batch, self._streams, self._idle = run, batch, streams, streams
        self._waiting: asyncio.Queue[Job] = asyncio.Queue()
        self._wanted: set[asyncio.Future[Outputs]] = set()
        self._threads = ThreadPoolExecutor(streams, "network")

    async def __call__(self, predictor: Predictor, prepared: PreprocessedImage) -> Outputs:
        """The network's outputs for a photograph; who is cancelled meanwhile is left out."""
        outputs: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        wanted = [(predictor, prepared)]
        self._waiting.put_nowait((wanted, outputs))
        self._wanted.add(outputs)
        try:
            return await outputs
        finally:
            wanted.clear()  # the network may be long in coming to it
            self._wanted.discard(outputs)

    async def work(self) -> None:
        """Takes what waits, again and again, until cancelled."""
        await asyncio.gather(*(self._serve() for _ in range(self._streams)))

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            jobs = await self._take()
            photographs = [shown for (shown,), _ in jobs]
            self._idle -= 1
            try:
                found = await loop.run_in_executor(self._threads, self._run, photographs)
            except Exception as error:
                for _, outputs in jobs:
                    if not outputs.done():
                        outputs.set_exception(error)
            else:
                for (_, outputs), mine in zip(jobs, found, strict=True):
                    if not outputs.done():
                        outputs.set_result(mine)
            finally:
                self._idle += 1

    async def _take(self) -> list[Job]:
        """An idle stream's share of those still wanted; panoramas count for what they cost."""
        jobs: list[Job] = []
        pixels = 0
        most = 1
        while not jobs or not (
            self._waiting.empty() or len(jobs) == most or pixels >= MAX_NETWORK_PIXELS
        ):
            wanted, outputs = await self._waiting.get()
            if not outputs.done():
                if not jobs:
                    most = min(math.ceil(len(self._wanted) / self._idle), self._batch)
                self._wanted.discard(outputs)
                jobs.append((wanted, outputs))
                pixels += sum(views.size // 3 for views in wanted[0][1].inputs.values())
        return jobs
