"""One process or many: what torchrun says, and what the processes must agree on."""

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
    """The processes that train together, as one of them sees them."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether it is this process that writes files and speaks."""
        return self.rank == 0

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over the processes, in all of them."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def most(self, *values: float) -> list[float]:
        """The largest of each value among the processes, in all of them."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return list(map(float, shared.tolist()))

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Makes them in all processes what they are in the first."""
        for tensor in tensors if self.size > 1 else ():
            dist.broadcast(tensor, 0)

    def gather(self, mine: Sequence[T]) -> list[T]:
        """What all processes have, in the first; elsewhere nothing."""
        if self.size == 1:
            return list(mine)
        everyone: list[Sequence[T]] | None = [()] * self.size if self.first else None
        dist.gather_object(mine, everyone)
        return [item for part in everyone or () for item in part]


@contextmanager
def process_group(device: str | None = None) -> Iterator[ProcessGroup]:
    """Joins the processes that torchrun started, one a GPU; alone where it started none.

    Args:
        device: cpu, cuda or mps; the best that is there when None.

    Raises:
        InputError: the device is not there.
    """
    name = device or _best_device()
    try:
        place = torch.device(name)
        if place == torch.device("cuda"):
            place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name} cannot be used here: {reason}") from error
    if place.type == "cuda":
        torch.cuda.set_device(place)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True  # training shows it one size
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        yield ProcessGroup(place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(place, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
