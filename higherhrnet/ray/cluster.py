"""The Ray cluster: connecting to it or starting it, and its capacity."""

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
    """Connects to a cluster, and disconnects at the end of the block.

    Args:
        address: HOST:PORT of the cluster; None for the cluster of this machine, or for a new one
            if there is none, which stops at the end of the block.

    Raises:
        InputError: there is no cluster at the address, or it cannot be used.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no statistics to Ray's authors
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # omit warnings that every run causes
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="ray")
    # The arguments that limit retries are deprecated, but Ray has no replacement for them yet.
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)
    try:
        _connect(address)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        reason = str(error).strip().partition("\n")[0]
        failure = f"--address {address}: cannot connect to a" if address else "cannot start a Ray"
        raise InputError(f"{failure} cluster: {reason}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a shard that is lost with its machine is no error
    context.target_max_block_size = 1  # one block for each shard, so that any actor can take it
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    host, _, port = (address or "").rpartition(":")
    if host:  # Ray itself would try for minutes if nothing listens there
        socket.create_connection((host, int(port)), timeout=10).close()
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)  # instead of Ray's own handler


def max_actors(cpus: int, gpus: float) -> int:
    """Returns the number of actors that fit on the idle cluster.

    Args:
        cpus: the number of CPUs that each actor uses.
        gpus: the number of GPUs that each actor uses, which may be a fraction.
    """
    machines = [
        node["Resources"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    required = {"CPU": cpus, "GPU": gpus}
    return sum(
        min(int(resources.get(kind, 0) / n + 1e-9) for kind, n in required.items() if n)
        for resources in machines
    )
