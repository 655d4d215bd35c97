"""Prediction for many frames: reading, the network and decoding run concurrently.

Frames are read and preprocessed in a thread pool, the network runs in threads of its own, and its
outputs are decoded in the pool. The number of frames in these steps and the bytes of their images
are bounded. Therefore memory grows neither with the number of frames nor much with their size, and
the network continues while the caller processes results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Condition
from typing import Any, Generic, TypeVar

from higherhrnet.arrays import Image
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.inference.frames import FailedSource, FrameResult, Input, Output, with_name
from higherhrnet.inference.network_threads import NetworkThreads
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.sources import Frame, Source, read_frames

T = TypeVar("T")
Task = Callable[[], Input | FailedSource]
"""Reads a frame and preprocesses it, or returns the reason why that is not possible."""

_BYTES_PER_CORE = 48 * 2**20
"""Number of bytes per CPU core that the frames in memory may have together."""


def predict_stream(
    predictor: Predictor,
    sources: Iterable[Source],
    finish: Callable[[FrameResult], T],
    every: int = 1,
    *,
    read: Callable[[Source], Image] | None = None,
    keep_images: bool = True,
) -> Iterator[T | FailedSource]:
    """Finds the people in each frame of each source.

    At most as many frames as there are cores, but two to eight, are being read at the same time. A
    frame is in memory until the caller has received its result. No further frame is read while the
    images and the network's inputs in memory would exceed 48 MB per core (for at most eight cores),
    or while two frames per core and three batches are in memory; with several streams of the
    engine, two batches more for each further stream. While the next frame of a camera or a network
    address is awaited, results are yielded as soon as they exist.

    Args:
        predictor: the predictor.
        sources: images, videos and cameras.
        finish: called with the result of each frame, in a thread of the pool.
        every: only every N-th frame of a video or camera is processed, beginning with the first.
        read: reads a source that is an image as RGB, in a thread of the pool. Default: each source
            is read by `read_frames`.
        keep_images: whether `finish` needs the pixels of images; otherwise it receives
            `Frame.without_pixels`, and less memory is used.

    Yields:
        The return value of `finish` for each frame, or the reason why a source failed, in the order
        of the sources.

    Raises:
        InputError: `finish` raised it; this ends the stream.
    """
    pipeline = _Pipeline(predictor, finish, keep_images)
    try:
        yield from pipeline.results(_load_tasks(predictor, sources, every, read, keep_images))
    finally:
        pipeline.close()


@dataclass(eq=False)
class _FrameInMemory(Generic[T]):
    """A frame whose result the caller has not received."""

    result: Future[T | FailedSource] = field(default_factory=Future)
    num_bytes: int | None = None
    """Number of bytes of its image and of the network's inputs; None while it is being read."""


class _Pipeline(Generic[T]):
    """Passes each frame from reading to the network, and from there to decoding.

    Args:
        predictor: the predictor.
        finish: as in `predict_stream`.
        keep_images: as in `predict_stream`.
    """

    def __init__(
        self, predictor: Predictor, finish: Callable[[FrameResult], T], keep_images: bool
    ) -> None:
        threads = min(usable_cores(), 8)
        self._predictor, self._finish, self._keep_images = predictor, finish, keep_images
        self._pool = ThreadPoolExecutor(threads, "higherhrnet")
        self._network = NetworkThreads(predictor)
        self._frames: deque[_FrameInMemory[T]] = deque()
        self._changed = Condition()  # notified when a frame has been read or is finished
        self._last_bytes = 0
        self._max_bytes, self._max_reading = threads * _BYTES_PER_CORE, max(2, threads)
        batches = 1 + 2 * predictor.processing.streams
        self._max_frames = batches * predictor.images_per_batch + 2 * threads

    def results(self, tasks: Iterable[Task | Future[Task | None]]) -> Iterator[T | FailedSource]:
        """Yields the results of all frames in their order.

        Args:
            tasks: for each frame, a function that reads and preprocesses it; or a future of it,
                while results are yielded as soon as they exist.
        """
        frames = self._frames
        for item in tasks:
            task = None if isinstance(item, Future) else item
            if isinstance(item, Future):
                item.add_done_callback(self._notify)
                yield from self._results_until(item.done)
                task = item.result()
            if task is not None:
                yield from self._results_until(self._has_room)
                self._start(task)
            # Two others are processed while the caller processes a result.
            while len(frames) > 2 and frames[0].result.done():
                yield frames.popleft().result.result()
        while frames:
            yield frames.popleft().result.result()

    def _results_until(self, condition: Callable[[], bool]) -> Iterator[T | FailedSource]:
        """Yields results as soon as they exist until a condition, which may change, is true."""

        def finished() -> bool:
            return bool(self._frames) and self._frames[0].result.done()

        while not condition():
            with self._changed:
                self._changed.wait_for(lambda: finished() or condition())
            if finished():
                yield self._frames.popleft().result.result()

    def close(self) -> None:
        """Ends the threads; frames that still wait are discarded."""
        self._network.close()
        self._pool.shutdown(cancel_futures=True)

    def _has_room(self) -> bool:
        """Returns whether a frame as large as the last one can be read."""
        known = [frame.num_bytes for frame in self._frames if frame.num_bytes is not None]
        reading = len(self._frames) - len(known)
        expected_bytes = sum(known) + (reading + 1) * self._last_bytes
        return not self._frames or (
            reading < self._max_reading
            and len(self._frames) < self._max_frames
            and expected_bytes <= self._max_bytes
        )

    def _start(self, task: Task) -> None:
        frame = _FrameInMemory[T]()
        frame.result.add_done_callback(self._notify)
        self._frames.append(frame)
        self._pool.submit(self._load, task, frame)

    def _load(self, task: Task, memory: _FrameInMemory[T]) -> None:
        with _errors_to(memory.result):
            loaded = task()
            if isinstance(loaded, FailedSource):
                memory.num_bytes = 0
                memory.result.set_result(loaded)
                return
            frame, preprocessed = loaded
            num_bytes = sum(array.nbytes for array in preprocessed.inputs.values())
            if self._keep_images:
                num_bytes += frame.image.nbytes
            memory.num_bytes = self._last_bytes = num_bytes
            self._notify()
            output = self._network.submit((frame, preprocessed))
            output.add_done_callback(partial(self._submit_decoding, memory))

    def _submit_decoding(
        self, memory: _FrameInMemory[T], output: Future[Output | FailedSource]
    ) -> None:
        with _errors_to(memory.result):
            self._pool.submit(self._decode, memory, output)

    def _decode(self, memory: _FrameInMemory[T], output: Future[Output | FailedSource]) -> None:
        with _errors_to(memory.result):
            poses = _postprocess(self._predictor, output.result(), self._finish)
            memory.result.set_result(poses)

    def _notify(self, _: object = None) -> None:
        with self._changed:
            self._changed.notify()


@contextmanager
def _errors_to(future: Future[Any]) -> Iterator[None]:
    """Passes any error to a future."""
    try:
        yield
    except BaseException as error:
        future.set_exception(error)


def _load_tasks(
    predictor: Predictor,
    sources: Iterable[Source],
    every: int,
    read: Callable[[Source], Image] | None,
    keep_images: bool,
) -> Iterator[Task | Future[Task | None]]:
    """Yields one task for each frame; images are read in the task, videos between the tasks.

    Frames of cameras and network addresses are read in a thread: their tasks are futures, the last
    of which is of None.
    """
    for source in sources:
        if read or not source.is_video:
            yield partial(_read_and_preprocess, predictor, source, read or _read_file, keep_images)
        elif isinstance(source.origin, Path):
            yield from _video_tasks(predictor, source, every, keep_images)
        else:
            yield from _read_in_thread(_video_tasks(predictor, source, every, keep_images))


def _video_tasks(
    predictor: Predictor, source: Source, every: int, keep_images: bool
) -> Generator[Task]:
    """Reads a video; yields one task for each frame."""
    try:
        for frame in read_frames(source, every):
            yield partial(_preprocess, predictor, frame, keep_images)
    except InputError as error:
        yield partial(FailedSource, source, error)


def _read_in_thread(tasks: Generator[Task]) -> Iterator[Task | Future[Task | None]]:
    """Yields the first task, and each further one while a thread waits for its frame.

    The first frame is read by the calling thread, since macOS opens cameras only in the main one.
    """
    with closing(tasks), ThreadPoolExecutor(1, "higherhrnet-live") as thread:
        task = next(tasks, None)
        if task is not None:
            yield task
        while task is not None:
            future = thread.submit(next, tasks, None)
            yield future
            task = future.result()


def _read_file(source: Source) -> Image:
    return next(read_frames(source)).image


def _read_and_preprocess(
    predictor: Predictor, source: Source, read: Callable[[Source], Image], keep_image: bool
) -> Input | FailedSource:
    try:
        image = read(source)
    except InputError as error:
        return FailedSource(source, error)
    return _preprocess(predictor, Frame(image, source), keep_image)


def _preprocess(predictor: Predictor, frame: Frame, keep_image: bool) -> Input | FailedSource:
    try:
        preprocessed = predictor.preprocess(frame.image)
        return frame if keep_image else frame.without_pixels(), preprocessed
    except InputError as error:
        return FailedSource(frame.source, with_name(frame, error))


def _postprocess(
    predictor: Predictor, item: Output | FailedSource, finish: Callable[[FrameResult], T]
) -> T | FailedSource:
    if isinstance(item, FailedSource):
        return item
    frame, preprocessed, outputs = item
    try:
        poses = predictor.postprocess(preprocessed, outputs)
    except InputError as error:
        return FailedSource(frame.source, with_name(frame, error), was_read=True)
    return finish(FrameResult(frame, poses, preprocessed, outputs))
