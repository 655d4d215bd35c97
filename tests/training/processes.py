"""Runs functions in forked processes, which share all that the test has built."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TypeVar

import cv2
import pytest
import torch

from higherhrnet.training.parallel import ProcessGroup, process_group

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def run_in_two_processes(work: Callable[[ProcessGroup], T]) -> list[T]:
    """The results of two processes of one group, in the order of their ranks."""
    port = str(free_port())

    def as_rank(rank: int) -> Callable[[], T]:
        def run() -> T:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
            os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
            with process_group("cpu") as group:
                return work(group)

        return run

    return run_in_processes([as_rank(rank) for rank in range(2)])


def run_in_processes(functions: Sequence[Callable[[], T]]) -> list[T]:
    """The result of each function, run in a process of its own at the same time."""
    cv2.setNumThreads(1)  # a process that is forked while other threads run may hang
    if sys.platform == "win32":
        pytest.skip("Windows cannot fork processes")
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in functions]
    processes = [
        fork.Process(target=_send_result, args=(function, sender))
        for function, (_, sender) in zip(functions, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    results: list[T] = []
    for receiver, _ in pipes:
        results.append(receiver.recv())  # raises EOFError if the process fails
    for process in processes:
        process.join()
    return results


def _send_result(function: Callable[[], T], sender: Connection) -> None:
    torch.set_num_threads(1)
    sender.send(function())
