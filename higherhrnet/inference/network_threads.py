"""Runs the network on the frames of a stream, in threads of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from higherhrnet.errors import InputError
from higherhrnet.inference.frames import FailedSource, Input, Output, with_name
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.processing import PreprocessedImage


class NetworkThreads:
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

    def submit(self, item: Input) -> Future[Output | FailedSource]:
        """Schedules a frame."""
        future: Future[Output | FailedSource] = Future()
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
        return [FailedSource(frame.source, with_name(frame, error), was_read=True)]
    return [
        (frame, PreprocessedImage(preprocessed.resizes, {}), output)
        for (frame, preprocessed), output in zip(items, outputs, strict=True)
    ]
