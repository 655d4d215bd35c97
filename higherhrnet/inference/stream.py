"""Prediction for many frames: reading, the network and decoding run concurrently.

Three stages follow each other, connected by bounded queues: frames are read and preprocessed in a
thread pool, the network runs in threads of its own, and its outputs are decoded in the pool.
Because the queues are bounded, memory does not grow with the number of frames, and the network
continues while the caller processes results.
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
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.processing import Outputs, PreprocessedImage
from higherhrnet.io.sources import Frame, Source, read_frames
from higherhrnet.poses.poses import Poses

T = TypeVar("T")
Input = tuple[Frame, PreprocessedImage]
"""A frame that is ready for the network."""
Output = tuple[Frame, PreprocessedImage, Outputs]
"""A frame with the network's outputs."""


@dataclass(frozen=True)
class FrameResult:
    """The poses of one frame, and the data from which they were computed."""

    frame: Frame
    poses: Poses
    preprocessed: PreprocessedImage
    """The transforms to the network's input, without the inputs."""
    outputs: Outputs


@dataclass(frozen=True)
class FailedSource:
    """A source that could not be processed completely."""

    source: Source
    reason: InputError
    was_read: bool = False
    """Whether it was read and preprocessed, and the network or decoding failed."""


def predict_stream(
    predictor: Predictor,
    sources: Iterable[Source],
    finish: Callable[[FrameResult], T],
    every: int = 1,
    *,
    read: Callable[[Source], Image] | None = None,
) -> Iterator[T | FailedSource]:
    """Finds the people in each frame of each source.

    At the same time, at most eight frames are being read, at most eight are being decoded, and at
    most four batches, or two per stream of the engine if that is more, wait for the network or are
    in it.

    Args:
        predictor: the predictor.
        sources: images, videos and cameras.
        finish: called with the result of each frame, in a thread of the pool.
        every: only every N-th frame of a video or camera is processed, beginning with the first.
        read: reads a source that is an image as RGB, in a thread of the pool. Default: each source
            is read by `read_frames`.

    Yields:
        The return value of `finish` for each frame, or the reason why a source failed, in the order
        of the sources.

    Raises:
        InputError: `finish` raised it; this ends the stream.
    """
    depth = min(2 * usable_cores(), 8)
    pool = ThreadPoolExecutor(min(usable_cores(), 8), "higherhrnet")
    network = _NetworkThreads(predictor)
    try:
        loading = (pool.submit(task) for task in _load_tasks(predictor, sources, every, read))
        running = map(network.submit, _in_order(loading, depth))
        batches = max(4, 2 * predictor.processing.streams)
        outputs = _in_order(running, batches * predictor.images_per_batch)
        decoding = (pool.submit(_postprocess, predictor, output, finish) for output in outputs)
        yield from _in_order(decoding, depth)
    finally:
        network.close()
        pool.shutdown(cancel_futures=True)


def _in_order(futures: Iterable[Future[T]], depth: int) -> Iterator[T]:
    """Yields the results of futures in their order; at most `depth` are pending at a time."""
    pending: deque[Future[T]] = deque()
    for future in futures:
        pending.append(future)
        if len(pending) >= depth or pending[0].done():
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


class _NetworkThreads:
    """The threads in which the network runs.

    A batch consists of the frame that has waited the longest and of others of the same shape.

    Args:
        predictor: the predictor, whose engine determines the number of threads.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._waiting: dict[Future[Output | FailedSource], Input] = {}
        self._lock = Lock()  # held during each access to `_waiting`
        self._threads = ThreadPoolExecutor(predictor.processing.streams, "higherhrnet-network")

    def submit(self, item: Input | FailedSource) -> Future[Output | FailedSource]:
        """Schedules a frame; a source that has failed is passed on."""
        future: Future[Output | FailedSource] = Future()
        if isinstance(item, FailedSource):
            future.set_result(item)
            return future
        with self._lock:
            self._waiting[future] = item
        self._threads.submit(self._run_batch)
        return future

    def close(self) -> None:
        """Ends the threads; frames that still wait are discarded."""
        self._threads.shutdown(cancel_futures=True)

    def _run_batch(self) -> None:
        batch = self._take_batch()
        try:
            results = _forward(self._predictor, list(batch.values()))
        except BaseException as error:
            for future in batch:
                future.set_exception(error)
            return
        for future, result in zip(batch, results, strict=True):
            future.set_result(result)

    def _take_batch(self) -> dict[Future[Output | FailedSource], Input]:
        """Returns the next batch; empty if earlier batches included all frames."""
        batch: dict[Future[Output | FailedSource], Input] = {}
        with self._lock:
            for future, (frame, preprocessed) in self._waiting.items():
                if len(batch) == self._predictor.images_per_batch:
                    break
                if not batch:
                    shapes = preprocessed.shapes
                if preprocessed.shapes == shapes:
                    batch[future] = frame, preprocessed
            for future in batch:
                del self._waiting[future]
        return batch


def _forward(predictor: Predictor, items: Sequence[Input]) -> list[Output | FailedSource]:
    """Runs the network on frames of equal shape; if that fails, on each of them alone."""
    try:
        outputs = predictor.forward([preprocessed for _, preprocessed in items])
    except InputError as error:
        if len(items) > 1:
            return [result for item in items for result in _forward(predictor, [item])]
        ((frame, _),) = items
        return [FailedSource(frame.source, _with_name(frame, error), was_read=True)]
    return [
        (frame, PreprocessedImage(preprocessed.resizes, {}), output)
        for (frame, preprocessed), output in zip(items, outputs, strict=True)
    ]


def _load_tasks(
    predictor: Predictor,
    sources: Iterable[Source],
    every: int,
    read: Callable[[Source], Image] | None,
) -> Iterator[Callable[[], Input | FailedSource]]:
    """Yields one task for each frame; images are read in the task, videos between the tasks."""
    for source in sources:
        if read or not source.is_video:
            yield partial(_read_and_preprocess, predictor, source, read or _read_file)
            continue
        try:
            for frame in read_frames(source, every):
                yield partial(_preprocess, predictor, frame)
        except InputError as error:
            yield partial(FailedSource, source, error)


def _read_file(source: Source) -> Image:
    return next(read_frames(source)).image


def _read_and_preprocess(
    predictor: Predictor, source: Source, read: Callable[[Source], Image]
) -> Input | FailedSource:
    try:
        image = read(source)
    except InputError as error:
        return FailedSource(source, error)
    return _preprocess(predictor, Frame(image, source))


def _preprocess(predictor: Predictor, frame: Frame) -> Input | FailedSource:
    try:
        return frame, predictor.preprocess(frame.image)
    except InputError as error:
        return FailedSource(frame.source, _with_name(frame, error))


def _postprocess(
    predictor: Predictor, item: Output | FailedSource, finish: Callable[[FrameResult], T]
) -> T | FailedSource:
    if isinstance(item, FailedSource):
        return item
    frame, preprocessed, outputs = item
    try:
        poses = predictor.postprocess(preprocessed, outputs)
    except InputError as error:
        return FailedSource(frame.source, _with_name(frame, error), was_read=True)
    return finish(FrameResult(frame, poses, preprocessed, outputs))


def _with_name(frame: Frame, error: InputError) -> InputError:
    """Returns the error with the name of the frame's source in its message."""
    return InputError(f"{frame.source.name}: {error}")
