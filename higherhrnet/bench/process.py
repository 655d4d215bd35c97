"""A process of its own for each measurement, so that neither memory nor threads are shared."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from higherhrnet.errors import InputError

R = TypeVar("R")


class FreshProcess(ProcessPoolExecutor):
    """One new process, which runs one call after the other and ends with the `with` block."""

    def __init__(self) -> None:
        # A forked process would start with the memory of its parent. At Ctrl-C this process ends
        # at once, without a traceback.
        silent = signal.signal, (signal.SIGINT, signal.SIG_DFL)
        super().__init__(1, get_context("spawn"), *silent)

    def call(self, function: Callable[..., R], *args: Any) -> R:  # noqa: ANN401
        """Calls a function in the process and returns its result.

        Raises:
            InputError: the function raised it, or the process was killed.
        """
        try:
            return self.submit(function, *args).result()
        except BrokenProcessPool as error:
            raise InputError("its process was killed; the memory may be too small") from error
