"""Work done by two real processes that torch has joined."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

import cv2
import torch

from higherhrnet.training.parallel import ProcessGroup, process_group

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return int(listening.getsockname()[1])


def by_two(work: Callable[[ProcessGroup], T]) -> list[T]:
    """What each of two processes made of the work, in their order; they see all that we do."""
    cv2.setNumThreads(1)  # a process forked beside threads may hang
    fork, port = multiprocessing.get_context("fork"), str(free_port())
    pipes = [fork.Pipe(duplex=False) for _ in range(2)]
    started = [
        fork.Process(target=_work, args=(work, rank, port, pipe))
        for rank, (_, pipe) in enumerate(pipes)
    ]
    for process in started:
        process.start()
    for _, pipe in pipes:
        pipe.close()
    results: list[T] = []
    for ours, _ in pipes:
        results.append(ours.recv())  # a process that fails closes it, which raises EOFError
    for process in started:
        process.join()
    return results


def _work(work: Callable[[ProcessGroup], T], rank: int, port: str, pipe: Connection) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    torch.set_num_threads(1)
    with process_group("cpu") as world:
        pipe.send(work(world))
