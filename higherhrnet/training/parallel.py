"""Distributed training: the processes that torchrun started, and the values that they exchange."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

from higherhrnet.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training run, from the point of view of one of them."""

    device: torch.device
    """The device of this process."""
    rank: int = 0
    """The index of this process."""
    size: int = 1
    """The number of processes."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and messages of the run."""
        return self.rank == 0

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the mean over all processes, in each of them."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def maximum(self, *values: float) -> list[float]:
        """Returns the maximum of each value over all processes, in each of them."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return list(map(float, shared.tolist()))

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrites tensors in all processes with those of the main process."""
        for tensor in tensors if self.size > 1 else ():
            dist.broadcast(tensor, 0)

    def gather(self, items: Sequence[T]) -> list[T]:
        """Returns the items of all processes in the main process, and an empty list in others."""
        if self.size == 1:
            return list(items)
        gathered: list[Sequence[T]] | None = [()] * self.size if self.is_main else None
        dist.gather_object(items, gathered)
        return [item for part in gathered or () for item in part]


@contextmanager
def process_group(device: str | None = None) -> Iterator[ProcessGroup]:
    """Joins the processes that torchrun started, with one GPU each, or yields a single process.

    Args:
        device: cpu, cuda or mps; None: cuda or mps if available, else cpu.

    Raises:
        InputError: the device is not available.
    """
    name = device or _best_device()
    try:
        torch_device = torch.device(name)
        if torch_device == torch.device("cuda"):
            torch_device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.zeros(1, device=torch_device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name} is not available: {reason}") from error
    if torch_device.type == "cuda":
        torch.cuda.set_device(torch_device)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True  # all batches have the same shape
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        yield ProcessGroup(torch_device)
        return
    uses_nccl = torch_device.type == "cuda" and dist.is_nccl_available()  # not on Windows
    dist.init_process_group("nccl" if uses_nccl else "gloo")
    try:
        yield ProcessGroup(torch_device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
