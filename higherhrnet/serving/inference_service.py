"""Photographs' bytes → what is wanted of them, a bounded number at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from time import perf_counter
from typing import TypeVar

from fastapi import HTTPException

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError, require
from higherhrnet.hardware import usable_cores
from higherhrnet.inference.predictor import Predictor, PreprocessedImage
from higherhrnet.inference.processing import Outputs
from higherhrnet.io.images import read_image
from higherhrnet.poses import Poses
from higherhrnet.serving.batching import Batcher, Shown
from higherhrnet.serving.limits import ServingLimits
from higherhrnet.serving.metrics import ServiceMetrics

T = TypeVar("T")


@dataclass(frozen=True)
class InferenceResult:
    """The people of one photograph, and all that there is to show of them."""

    predictor: Predictor
    data: bytes
    """The photograph's file: waiting costs these, not the pixels."""
    size: tuple[int, int]
    """Height and width."""
    prepared: PreprocessedImage
    outputs: Outputs
    poses: Poses

    def image(self) -> Image:
        """The photograph, decoded once more."""
        return read_image(BytesIO(self.data), max_pixels=math.prod(self.size))


class InferenceService:
    """Finds people for many clients at once.

    Photographs are decoded and people drawn in a few threads, the network runs in others: the
    event loop only passes things on.
    """

    def __init__(
        self, predictor: Predictor, limits: ServingLimits, figures: ServiceMetrics
    ) -> None:
        self.predictor, self.limits, self.figures = predictor, limits, figures
        predictor.batch_size = 2 * limits.batch  # with their mirror images
        self._looking = {flip: predictor.with_flip(flip) for flip in (False, True)}
        self.under_way = 0
        figures.under_way.set_function(lambda: self.under_way)
        self.threads = ThreadPoolExecutor(min(usable_cores(), 4), "photographs")
        self._batcher = Batcher(self._run, limits.batch, predictor.processing.streams)
        decoded = 3 * max(limits.batch, predictor.processing.streams)  # others wait as bytes
        self._decoded = asyncio.Semaphore(decoded)
        self._pace = 1.0  # seconds a photograph, of late

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """While this is open, photographs are taken."""
        worker = asyncio.create_task(self._batcher.work())
        try:
            yield
        finally:
            worker.cancel()

    def predictor_with(self, flip: bool | None, min_score: float | None) -> Predictor:
        """The same network with settings of a request's own."""
        predictor = copy(self._looking[self.predictor.config.flip if flip is None else flip])
        if min_score is not None:
            decode = replace(predictor.config.decode, min_score=min_score)
            predictor.config = replace(predictor.config, decode=decode)
        return predictor

    def check_room(self, photographs: int = 1) -> None:
        """Refuses at once what would have to wait too long.

        Raises:
            HTTPException: 503, with the seconds after which there should be room.
        """
        if self.under_way + photographs > self.limits.queue:
            raise self.busy("as many photographs as may wait are waiting")

    def busy(self, reason: str) -> HTTPException:
        """A 503 that says when to come again."""
        seconds = math.ceil(min(self.under_way * self._pace, self.limits.timeout))
        return HTTPException(503, reason, headers={"retry-after": str(max(seconds, 1))})

    @contextmanager
    def room(self, photographs: int) -> Iterator[None]:
        """Keeps room for some photographs, or refuses them as `check_room` does."""
        self.check_room(photographs)
        self.under_way += photographs
        try:
            yield
        finally:
            self.under_way -= photographs

    async def find(
        self, predictor: Predictor, files: Sequence[bytes], finish: Callable[[InferenceResult], T]
    ) -> list[T]:
        """What `finish` makes, in a thread, of the people in each photograph.

        Raises:
            HTTPException: one cannot be read or shown to the network (422).
        """
        tasks = [asyncio.create_task(self._one(predictor, data, finish)) for data in files]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _one(
        self, predictor: Predictor, data: bytes, finish: Callable[[InferenceResult], T]
    ) -> T:
        in_thread = partial(asyncio.get_running_loop().run_in_executor, self.threads)
        async with self._decoded:
            size, prepared = await in_thread(self._prepare, predictor, data)
            outputs = await self._batcher(predictor, prepared)
            return await in_thread(self._read, predictor, data, size, prepared, outputs, finish)

    def _prepare(
        self, predictor: Predictor, data: bytes
    ) -> tuple[tuple[int, int], PreprocessedImage]:
        try:
            image = read_image(BytesIO(data), max_pixels=self.limits.max_pixels)
            size = image.shape[:2]
            self._check_shape(predictor, *size)
            return size, predictor.preprocess(image)
        except InputError as error:
            raise HTTPException(422, str(error)) from error

    def _check_shape(self, predictor: Predictor, height: int, width: int) -> None:
        """Few pixels may become many: the shorter side is resized to what the network is shown."""
        ways = predictor.resizes(height, width).values()
        require(
            sum(way.width * way.height for way in ways) <= self.limits.max_network_pixels,
            f"{width}×{height} pixels are so long that the network would be shown more than "
            f"{self.limits.max_network_megapixels:g} million; crop it",
        )

    def _run(self, shown: Sequence[Shown]) -> list[Outputs]:
        self.figures.batches.observe(len(shown))
        start = perf_counter()
        outputs: dict[int, Outputs] = {}
        with self.figures.network.time():
            for flip, predictor in self._looking.items():
                places = [i for i, (who, _) in enumerate(shown) if who.config.flip == flip]
                outputs |= zip(
                    places, predictor.forward([shown[i][1] for i in places]), strict=True
                )
        taken = (perf_counter() - start) / len(shown) / self.predictor.processing.streams
        self._pace += 0.2 * (taken - self._pace)
        return [outputs[place] for place in range(len(shown))]

    def _read(
        self,
        predictor: Predictor,
        data: bytes,
        size: tuple[int, int],
        prepared: PreprocessedImage,
        outputs: Outputs,
        finish: Callable[[InferenceResult], T],
    ) -> T:
        poses = predictor.postprocess(prepared, outputs)
        self.figures.people.inc(len(poses))
        return finish(InferenceResult(predictor, data, size, prepared, outputs, poses))
