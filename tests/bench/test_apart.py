"""Objects in other processes: they answer, they fail, they die, and they share nothing."""

import os
import signal
from collections import Counter

import numpy as np
import pytest

from higherhrnet.bench.apart import Apart, peak_memory
from higherhrnet.errors import InputError
from higherhrnet.skeleton import load_skeleton


class Here:
    """Where and how large the process is that an object was made in."""

    def __init__(self, megabytes: int = 0) -> None:
        self.ballast = np.ones(megabytes << 20, np.uint8)
        self.process = os.getpid()

    def peak(self) -> int | None:
        return peak_memory()

    def number(self) -> int:
        return self.process

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def refuse(self, why: str) -> None:
        raise InputError(why)


def test_an_object_lives_elsewhere_and_keeps_its_state() -> None:
    with Apart(Counter, "people") as letters:
        assert letters.ask(len) == 4
        letters.ask(Counter.update, "tags")
        assert letters.ask(len) == 8
    with Apart(Here) as first, Apart(Here) as second:
        assert len({first.ask(Here.number), second.ask(Here.number), os.getpid()}) == 3


def test_errors_of_the_users_come_back() -> None:
    with pytest.raises(InputError, match="dog"):
        Apart(load_skeleton, "dog")
    with Apart(Here) as here:
        with pytest.raises(InputError, match="too small"):
            here.ask(Here.refuse, "too small")
        assert here.ask(Here.number) != os.getpid()  # and it goes on


def test_a_killed_process_is_an_error_not_a_wait() -> None:
    with Apart(Here) as here:
        for _ in range(2):
            with pytest.raises(InputError, match="ended with code -9"):
                here.ask(Here.die)


def test_memory_is_its_own() -> None:
    ballast = np.ones(400 << 20, np.uint8)
    with Apart(Here) as light, Apart(Here, 100) as heavy:
        little, much = light.ask(Here.peak), heavy.ask(Here.peak)
    here = peak_memory()
    assert little is not None and much is not None and here is not None
    assert little < 300 << 20
    assert 90 << 20 < much - little < 130 << 20
    assert here > ballast.nbytes
