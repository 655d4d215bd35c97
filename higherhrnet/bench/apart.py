"""Objects in processes of their own, so that no one's memory or threads are another's."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from higherhrnet.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

_GRACE = 2.0
"""Seconds for a process to end by itself."""


class Apart(Generic[T]):
    """An object that is made and used in a fresh process, which ends with the block.

    Raises:
        InputError: as the object could not be made, or see `ask`.
    """

    def __init__(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
        context = get_context("spawn")  # a fork would begin with this process's memory
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, partial(make, *args, **kwargs)), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the pipe ends when the other process does
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()  # what waits for a question ends by itself
        self._process.join(_GRACE)
        self._process.terminate()
        self._process.join()

    def ask(self, function: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What a function makes of the object, over there.

        Raises:
            InputError: the function raised it, or the process has been killed.
        """
        with suppress(OSError):  # if the process has ended, its answer will say so
            self._pipe.send((function, args, kwargs))
        return self._answer()  # type: ignore[no-any-return]

    def _answer(self) -> Any:  # noqa: ANN401 (whatever came through the pipe)
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            code = self._process.exitcode
            raise InputError(f"its process ended with code {code}; -9: out of memory") from error
        if isinstance(answer, InputError):
            raise answer
        return answer


def _serve(pipe: Connection, make: Callable[[], object]) -> None:
    """Makes the object, then answers until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this process
    with suppress(EOFError, OSError):
        try:
            thing = make()
            pipe.send(None)
        except InputError as error:
            pipe.send(error)
            return
        while True:
            function, args, kwargs = pipe.recv()
            try:
                answer = function(thing, *args, **kwargs)
            except InputError as error:
                answer = error
            pipe.send(answer)


def peak_memory() -> int | None:
    """The most bytes that this process has held in memory at once; None if nobody knows.

    Linux's count begins with the program; getrusage's begins with what its parent held.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (peak := re.search(r"VmHWM:\s*(\d+)", status.read_text())):
        return 1024 * int(peak[1])
    if not find_spec("resource"):
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
