"""Batches of images from different requests, in the order in which they arrived."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from higherhrnet.geometry import MAX_NETWORK_PIXELS
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.processing import Outputs, PreprocessedImage

BatchItem = tuple[Predictor, PreprocessedImage]
"""An image, and the predictor that preprocessed it and will postprocess its outputs."""


@dataclass(eq=False)
class _Job:
    outputs: asyncio.Future[Outputs]
    item: BatchItem | None


class Batcher:
    """Runs the network on batches of images, in threads of its own.

    Args:
        forward: returns the network's outputs for each image of a batch; it is called in threads.
        batch_size: maximum number of images in a batch.
        streams: number of batches that are computed concurrently.
    """

    def __init__(
        self,
        forward: Callable[[Sequence[BatchItem]], Sequence[Outputs]],
        batch_size: int,
        streams: int,
    ) -> None:
        self._forward, self._batch_size = forward, batch_size
        self._streams, self._idle_streams = streams, streams
        self._queue: asyncio.Queue[_Job] = asyncio.Queue()
        self._waiting: set[_Job] = set()
        self._threads = ThreadPoolExecutor(streams, "network")

    async def __call__(self, predictor: Predictor, preprocessed: PreprocessedImage) -> Outputs:
        """Returns the network's outputs for an image, which is skipped if the call is canceled."""
        job = _Job(asyncio.get_running_loop().create_future(), (predictor, preprocessed))
        self._queue.put_nowait(job)
        self._waiting.add(job)
        try:
            return await job.outputs
        finally:
            job.item = None  # frees the pixels: the job may stay in the queue for long
            self._waiting.discard(job)

    async def run(self) -> None:
        """Computes batches until it is canceled."""
        await asyncio.gather(*(self._run_stream() for _ in range(self._streams)))

    async def _run_stream(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            items, futures = await self._next_batch()
            self._idle_streams -= 1
            try:
                results = await loop.run_in_executor(self._threads, self._forward, items)
            except Exception as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            else:
                for future, outputs in zip(futures, results, strict=True):
                    if not future.done():
                        future.set_result(outputs)
            finally:
                self._idle_streams += 1

    async def _next_batch(self) -> tuple[list[BatchItem], list[asyncio.Future[Outputs]]]:
        """Waits for images and returns those that an idle stream computes next.

        The waiting images are divided evenly among the idle streams. A batch ends early when its
        pixels exceed a limit, so that a few panoramas do not take too much memory.
        """
        items: list[BatchItem] = []
        futures: list[asyncio.Future[Outputs]] = []
        size, pixels = 1, 0
        while not items or not (
            self._queue.empty() or len(items) == size or pixels >= MAX_NETWORK_PIXELS
        ):
            job = await self._queue.get()
            if job.item is None or job.outputs.done():
                continue
            if not items:
                images_per_stream = math.ceil(len(self._waiting) / self._idle_streams)
                size = min(images_per_stream, self._batch_size)
            self._waiting.discard(job)
            items.append(job.item)
            futures.append(job.outputs)
            pixels += sum(inputs.size // 3 for inputs in job.item[1].inputs.values())
        return items, futures
