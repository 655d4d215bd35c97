"""The cluster: joined or started, and how much it can hold."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from higherhrnet.errors import InputError


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """A cluster that is joined, or started for the while.

    Raises:
        InputError: nobody answers at this address, or not as a cluster that can be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to Ray's makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of the rest it warns each time
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="ray")
    # the ways to say how often Ray tries again go in 2.64, and have no other yet
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)
    try:
        host, _, port = (address or "").rpartition(":")
        if host:  # where nobody answers, Ray would ask for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        stop = signal.getsignal(signal.SIGTERM)  # Ray has one of its own
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop or signal.SIG_DFL)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"--ray {address or ''}: no cluster can be joined: {reason}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # units that died with their machine
    context.target_max_block_size = 1  # a unit is a block of its own, for any actor to take
    try:
        yield
    finally:
        ray.shutdown()


def max_actors(cpus: int, gpus: float) -> int:
    """How many actors the machines of the cluster can hold when they do nothing else."""
    machines = [
        node["Resources"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    wanted = {"CPU": cpus, "GPU": gpus}
    return sum(
        min(int(has.get(kind, 0) / one + 1e-9) for kind, one in wanted.items() if one)
        for has in machines
    )
