"""Many frames → their poses, in order: while one is in the network, others are read and decoded.

Three stages follow each other, each a row of calls under way: reading and resizing in a pool of
threads, the network in threads of its own, decoding in the pool again. Each row is short, so
memory does not grow with the number of frames, and the network goes on while the caller works.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TypeVar

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.inference.predictor import Predictor, PreprocessedImage
from higherhrnet.inference.processing import Outputs
from higherhrnet.io.sources import Frame, Source, read_frames
from higherhrnet.poses import Poses

T = TypeVar("T")
Loaded = tuple[Frame, PreprocessedImage]
Ran = tuple[Frame, PreprocessedImage, Outputs]


@dataclass(frozen=True)
class FrameResult:
    """The people of one frame, and what they were read from."""

    frame: Frame
    poses: Poses
    prepared: PreprocessedImage
    """Without its views, which the network has seen."""
    outputs: Outputs


@dataclass(frozen=True)
class FailedSource:
    """A source that could not be read, or not to its end."""

    source: Source
    reason: InputError
    read: bool = False
    """It was read, but the engine or its maps failed."""


def _read_file(source: Source) -> Image:
    return next(read_frames(source)).image


def predict_stream(
    predictor: Predictor,
    sources: Iterable[Source],
    finish: Callable[[FrameResult], T],
    every: int = 1,
    *,
    read: Callable[[Source], Image] = _read_file,
) -> Iterator[T | FailedSource]:
    """Finds the people of each frame of each source.

    At most eight pictures are under way in reading, eight in decoding, and four batches in or
    before the network, or two for each of its streams, however many there are.

    Args:
        predictor: finds them.
        sources: pictures, videos, cameras.
        finish: makes of what was found whatever is wanted; runs in a thread.
        every: of a video or camera, only each so many-th frame.
        read: gives a picture as RGB; from its file, upright, if not said. Runs in a thread.

    Yields:
        What `finish` made of each frame, or why a source failed, in the order of the sources.

    Raises:
        InputError: from `finish`; what it cannot write ends the stream.
    """
    depth = min(2 * usable_cores(), 8)
    pool = ThreadPoolExecutor(min(usable_cores(), 8), "higherhrnet")
    network = _Network(predictor)
    try:
        loads = (pool.submit(call) for call in _loads(predictor, sources, every, read))
        runs = map(network.submit, _in_order(loads, depth))
        ran = _in_order(runs, max(4, 2 * predictor.processing.streams) * predictor.images_per_batch)
        reads = (pool.submit(_read, predictor, item, finish) for item in ran)
        yield from _in_order(reads, depth)
    finally:
        network.close()
        pool.shutdown(cancel_futures=True)


def _in_order(calls: Iterable[Future[T]], depth: int) -> Iterator[T]:
    """The results of calls in threads, in their order; at most `depth` are under way."""
    under_way: deque[Future[T]] = deque()
    for call in calls:
        under_way.append(call)
        if len(under_way) >= depth or under_way[0].done():
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


class _Network:
    """Threads in which the network runs: on what waits longest, and others of its size with it."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._waiting: dict[Future[Ran | FailedSource], Loaded] = {}
        self._choosing = Lock()
        self._threads = ThreadPoolExecutor(predictor.processing.streams, "higherhrnet-network")

    def submit(self, item: Loaded | FailedSource) -> Future[Ran | FailedSource]:
        """What will become of a picture; what failed stays as it is."""
        future: Future[Ran | FailedSource] = Future()
        if isinstance(item, FailedSource):
            future.set_result(item)
        else:
            self._waiting[future] = item
            self._threads.submit(self._serve)
        return future

    def close(self) -> None:
        """Ends the threads; what still waits is given up."""
        self._threads.shutdown(cancel_futures=True)

    def _serve(self) -> None:
        batch = self._next()
        futures = [future for future, _ in batch]
        try:
            results = _run(self._predictor, [item for _, item in batch])
        except BaseException as error:
            for future in futures:
                future.set_exception(error)
            return
        for future, result in zip(futures, results, strict=True):
            future.set_result(result)

    def _next(self) -> list[tuple[Future[Ran | FailedSource], Loaded]]:
        """Takes the next batch; nothing if those before took the last ones along."""
        with self._choosing:
            waiting = list(self._waiting.items())
            alike = [pair for pair in waiting if pair[1][1].shapes == waiting[0][1][1].shapes]
            batch = alike[: self._predictor.images_per_batch]
            for future, _ in batch:
                del self._waiting[future]
            return batch


def _run(predictor: Predictor, items: Sequence[Loaded]) -> list[Ran | FailedSource]:
    """The network's outputs for pictures of one size; if that fails, for each alone."""
    try:
        outputs = predictor.forward([prepared for _, prepared in items])
    except InputError as error:
        if len(items) > 1:
            return [result for item in items for result in _run(predictor, [item])]
        ((frame, _),) = items
        return [FailedSource(frame.source, _about(frame, error), True)]
    return [
        (frame, PreprocessedImage(prepared.resizes, {}), output)
        for (frame, prepared), output in zip(items, outputs, strict=True)
    ]


def _loads(
    predictor: Predictor,
    sources: Iterable[Source],
    every: int,
    read: Callable[[Source], Image],
) -> Iterator[Callable[[], Loaded | FailedSource]]:
    for source in sources:
        if not source.is_video:
            yield partial(_load, predictor, source, read)
            continue
        try:
            for frame in read_frames(source, every):
                yield partial(_prepare, predictor, frame)
        except InputError as error:
            yield partial(FailedSource, source, error)


def _load(
    predictor: Predictor, source: Source, read: Callable[[Source], Image]
) -> Loaded | FailedSource:
    try:
        return _prepare(predictor, Frame(read(source), source))
    except InputError as error:
        return FailedSource(source, error)


def _prepare(predictor: Predictor, frame: Frame) -> Loaded | FailedSource:
    try:
        return frame, predictor.preprocess(frame.image)
    except InputError as error:
        return FailedSource(frame.source, _about(frame, error))


def _read(
    predictor: Predictor, item: Ran | FailedSource, finish: Callable[[FrameResult], T]
) -> T | FailedSource:
    if isinstance(item, FailedSource):
        return item
    frame, prepared, outputs = item
    try:
        poses = predictor.postprocess(prepared, outputs)
    except InputError as error:
        return FailedSource(frame.source, _about(frame, error), True)
    return finish(FrameResult(frame, poses, prepared, outputs))


def _about(frame: Frame, error: InputError) -> InputError:
    return InputError(f"{frame.source.name}: {error}")
