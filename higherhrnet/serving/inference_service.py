"""Image files of many requests → results, with a bounded number of images in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TypeVar

from fastapi import HTTPException

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, require
from higherhrnet.hardware import usable_cores
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.processing import Outputs, PreprocessedImage
from higherhrnet.io.images import read_image
from higherhrnet.poses.poses import Poses
from higherhrnet.serving.batching import Batcher, BatchItem
from higherhrnet.serving.limits import ServingLimits
from higherhrnet.serving.metrics import ServiceMetrics
from higherhrnet.serving.problems import image_prefix

T = TypeVar("T")


@dataclass(frozen=True)
class InferenceResult:
    """The poses of one image, and what is needed to draw them and the maps."""

    predictor: Predictor
    data: bytes
    """The image file. It is kept instead of the pixels, which take much more memory."""
    shape: tuple[int, int]
    """Height and width of the image."""
    preprocessed: PreprocessedImage
    outputs: Outputs
    poses: Poses

    def image(self) -> Image:
        """Decodes the image file again."""
        return read_image(self.data, max_pixels=math.prod(self.shape))


class InferenceService:
    """Finds the people in the images of many requests concurrently.

    Images are decoded, and results are drawn and encoded, in a few threads; the network runs in
    other threads. The event loop only passes data between them.

    Args:
        predictor: runs the network; its `batch_size` is set to that of the limits.
        limits: the size of images, batches and the queue.
        metrics: counts images, batches and people.
    """

    def __init__(
        self, predictor: Predictor, limits: ServingLimits, metrics: ServiceMetrics
    ) -> None:
        self.predictor, self.limits, self.metrics = predictor, limits, metrics
        streams = predictor.processing.streams
        predictor.batch_size = 2 * limits.batch_size  # each image may have a flipped view
        self._predictors = {flip: predictor.with_flip(flip) for flip in (False, True)}
        self._in_progress = 0
        metrics.in_progress.set_function(lambda: self._in_progress)
        self._threads = ThreadPoolExecutor(min(usable_cores(), 4), "images")
        self._batcher = Batcher(self._forward, limits.batch_size, streams)
        self._decoded = asyncio.Semaphore(3 * max(limits.batch_size, streams))
        self._seconds_per_image = 1.0  # moving average

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Runs the network within the context, so that `predict` returns."""
        worker = asyncio.create_task(self._batcher.run())
        try:
            yield
        finally:
            worker.cancel()

    def predictor_with(self, flip: bool | None, min_score: float | None) -> Predictor:
        """Returns a predictor of the same network with a request's inference settings.

        Args:
            flip: whether to use the flipped view; None: the setting of the service.
            min_score: omits people whose score is lower; None: the setting of the service.
        """
        predictor = copy(self._predictors[self.predictor.config.flip if flip is None else flip])
        if min_score is not None:
            decode = replace(predictor.config.decode, min_score=min_score)
            predictor.config = replace(predictor.config, decode=decode)
        return predictor

    def require_capacity(self, images: int = 1) -> None:
        """Checks that the queue has room for a number of images.

        Raises:
            HTTPException: the queue is full (503).
        """
        if self._in_progress + images > self.limits.max_queue:
            raise self.overloaded("the queue of the service is full")

    def overloaded(self, reason: str) -> HTTPException:
        """Returns an error with status 503 and an estimate of the time after which to retry."""
        seconds = math.ceil(min(self._in_progress * self._seconds_per_image, self.limits.timeout))
        return HTTPException(503, reason, headers={"retry-after": str(max(seconds, 1))})

    @contextmanager
    def queue_slots(self, images: int) -> Iterator[None]:
        """Occupies slots of the queue within the context.

        Raises:
            HTTPException: the queue is full (503).
        """
        self.require_capacity(images)
        self._in_progress += images
        try:
            yield
        finally:
            self._in_progress -= images

    async def predict(
        self, predictor: Predictor, files: Sequence[bytes], convert: Callable[[InferenceResult], T]
    ) -> list[T]:
        """Finds the people in images.

        Args:
            predictor: the network and the inference settings, from `predictor_with`.
            files: the image files.
            convert: converts each result to the form that is returned; it is called in threads.

        Returns:
            For each image, what `convert` returned.

        Raises:
            HTTPException: an image cannot be read or used (422).
        """
        prefixes = [image_prefix(index, len(files)) for index in range(len(files))]
        tasks = [
            asyncio.create_task(self._predict(predictor, data, convert, prefix))
            for data, prefix in zip(files, prefixes, strict=True)
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _predict(
        self,
        predictor: Predictor,
        data: bytes,
        convert: Callable[[InferenceResult], T],
        prefix: str,
    ) -> T:
        run_in_thread = partial(asyncio.get_running_loop().run_in_executor, self._threads)

        def postprocess() -> T:
            poses = predictor.postprocess(preprocessed, outputs)
            self.metrics.people.inc(len(poses))
            return convert(InferenceResult(predictor, data, shape, preprocessed, outputs, poses))

        async with self._decoded:  # other images wait as files, which take less memory
            shape, preprocessed = await run_in_thread(self._preprocess, predictor, data, prefix)
            outputs = await self._batcher(predictor, preprocessed)
            return await run_in_thread(postprocess)

    def _preprocess(
        self, predictor: Predictor, data: bytes, prefix: str
    ) -> tuple[tuple[int, int], PreprocessedImage]:
        """Decodes and resizes an image; `prefix` is the beginning of error messages."""
        try:
            image = read_image(data, max_pixels=self.limits.max_pixels)
            height, width = image.shape[:2]
            self._check_network_pixels(predictor, height, width)
            return (height, width), predictor.preprocess(image)
        except InputError as error:
            raise HTTPException(422, prefix + str(error).removeprefix("the image: ")) from error

    def _check_network_pixels(self, predictor: Predictor, height: int, width: int) -> None:
        """Rejects long, narrow images, which would be too large when resized for the network."""
        resizes = predictor.resizes(height, width).values()
        require(
            sum(resize.width * resize.height for resize in resizes)
            <= self.limits.max_network_pixels,
            f"an image of {width}×{height} pixels is too long and narrow: resized for the network "
            f"it has more than {self.limits.max_network_megapixels:g} million pixels; crop it",
        )

    def _forward(self, items: Sequence[BatchItem]) -> list[Outputs]:
        """Runs the network on a batch: first the images without, then those with flipped views."""
        self.metrics.batch_size.observe(len(items))
        start = perf_counter()
        outputs: list[Outputs] = [{} for _ in items]
        with self.metrics.network_seconds.time():
            for flip, predictor in self._predictors.items():
                indices = [i for i, (each, _) in enumerate(items) if each.config.flip == flip]
                images = [items[i][1] for i in indices]
                for i, result in zip(indices, predictor.forward(images), strict=True):
                    outputs[i] = result
        seconds = (perf_counter() - start) / len(items) / self.predictor.processing.streams
        self._seconds_per_image += 0.2 * (seconds - self._seconds_per_image)
        return outputs
