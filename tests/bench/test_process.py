"""A fresh process returns results and user errors, may be killed, and has memory of its own."""

import os
import signal
import sys

import numpy as np
import pytest

from higherhrnet.bench.machine import peak_memory
from higherhrnet.bench.process import FreshProcess
from higherhrnet.errors import InputError
from higherhrnet.io.skeleton_files import load_skeleton


def peak_after_allocating(megabytes: int) -> int:
    np.ones(megabytes << 20, np.uint8)
    return peak_memory()["ram"]


def kill_this_process() -> None:
    number = signal.SIGTERM  # which ends a process at once on Windows
    if sys.platform != "win32":
        number = signal.SIGKILL
    os.kill(os.getpid(), number)


def test_all_calls_run_in_the_same_new_process() -> None:
    with FreshProcess() as first, FreshProcess() as second:
        assert first.call(os.getpid) == first.call(os.getpid)
        assert len({first.call(os.getpid), second.call(os.getpid), os.getpid()}) == 3


def test_a_user_error_is_raised_and_the_process_remains_usable() -> None:
    with FreshProcess() as process:
        with pytest.raises(InputError, match="dog"):
            process.call(load_skeleton, "dog")
        assert process.call(len, "people") == 6


def test_a_killed_process_is_a_user_error_at_every_call() -> None:
    with FreshProcess() as process:
        for _ in range(2):
            with pytest.raises(InputError, match="was killed"):
                process.call(kill_this_process)


@pytest.mark.slow
def test_peak_memory_excludes_other_processes() -> None:
    ballast = np.ones(400 << 20, np.uint8)
    with FreshProcess() as small, FreshProcess() as large:
        little, much = (
            process.call(peak_after_allocating, size)
            for process, size in ((small, 0), (large, 100))
        )
    assert little < 300 << 20
    assert 90 << 20 < much - little < 130 << 20
    assert peak_memory()["ram"] > ballast.nbytes
