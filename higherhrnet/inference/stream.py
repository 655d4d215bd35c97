"""Many frames → their poses, in order: while one is in the network, others are read and decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from higherhrnet.errors import InputError
from higherhrnet.inference.engine import usable_cores
from higherhrnet.inference.images import Image
from higherhrnet.inference.predictor import Outputs, Predictor, Prepared
from higherhrnet.inference.sources import Frame, Source, read_frames
from higherhrnet.poses import Poses

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """The people of one frame, and what they were read from."""

    frame: Frame
    poses: Poses
    prepared: Prepared
    outputs: Outputs


@dataclass(frozen=True)
class Failed:
    """A source that could not be read, or not to its end."""

    source: Source
    reason: InputError
    read: bool = False
    """It was read, but the engine or its maps failed."""


def _read_file(source: Source) -> Image:
    return next(read_frames(source)).image


def stream(
    predictor: Predictor,
    sources: Iterable[Source],
    finish: Callable[[Found], T],
    every: int = 1,
    *,
    read: Callable[[Source], Image] = _read_file,
) -> Iterator[T | Failed]:
    """Finds the people of each frame of each source.

    Pictures are read, and the network's maps decoded, in threads around the network; at most eight
    wait at each side of it, however many there are.

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
    try:
        loaded = _in_order(pool, _loads(predictor, sources, every, read), depth)
        yield from _in_order(pool, _reads(predictor, loaded, finish), depth)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, calls: Iterable[Callable[[], T]], depth: int
) -> Iterator[T]:
    """The results of calls made in threads, in their order; at most `depth` are under way."""
    under_way: deque[Future[T]] = deque()
    for call in calls:
        under_way.append(pool.submit(call))
        if len(under_way) >= depth:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _loads(
    predictor: Predictor,
    sources: Iterable[Source],
    every: int,
    read: Callable[[Source], Image],
) -> Iterator[Callable[[], tuple[Frame, Prepared] | Failed]]:
    for source in sources:
        if not source.moving:
            yield partial(_load, predictor, source, read)
            continue
        try:
            for frame in read_frames(source, every):
                yield partial(_prepare, predictor, frame)
        except InputError as error:
            yield partial(Failed, source, error)


def _load(
    predictor: Predictor, source: Source, read: Callable[[Source], Image]
) -> tuple[Frame, Prepared] | Failed:
    try:
        return _prepare(predictor, Frame(read(source), source))
    except InputError as error:
        return Failed(source, error)


def _prepare(predictor: Predictor, frame: Frame) -> tuple[Frame, Prepared] | Failed:
    try:
        return frame, predictor.prepare(frame.image)
    except InputError as error:
        return Failed(frame.source, _about(frame, error))


def _reads(
    predictor: Predictor,
    loaded: Iterable[tuple[Frame, Prepared] | Failed],
    finish: Callable[[Found], T],
) -> Iterator[Callable[[], T | Failed]]:
    for item in loaded:
        if isinstance(item, Failed):
            yield partial(Failed, item.source, item.reason)
        else:
            frame, prepared = item
            try:
                outputs = predictor.run([prepared])[0]
            except InputError as error:
                yield partial(Failed, frame.source, _about(frame, error), True)
            else:
                yield partial(_read, predictor, frame, prepared, outputs, finish)


def _read(
    predictor: Predictor,
    frame: Frame,
    prepared: Prepared,
    outputs: Outputs,
    finish: Callable[[Found], T],
) -> T | Failed:
    try:
        poses = predictor.read(prepared, outputs)
    except InputError as error:
        return Failed(frame.source, _about(frame, error), True)
    return finish(Found(frame, poses, prepared, outputs))


def _about(frame: Frame, error: InputError) -> InputError:
    return InputError(f"{frame.source.name}: {error}")
