"""Photographs → batches: read and augmented in worker processes, the same whatever their number."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from higherhrnet.data.augment import Sample, augment
from higherhrnet.data.dataset import AnnotatedImage, KeypointDataset
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores
from higherhrnet.recipes import TrainConfig

SampleKey = tuple[int, int, int]
"""Epoch, place in it, photograph: what a sample is drawn from, and nothing else."""

_TRIES = 20
"""Photographs in a row that cannot be read before it is taken for no coincidence."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples as the network is shown them; see `Sample` for what each is."""

    names: list[str]
    images: Tensor
    """(B, 3, S, S) uint8, in channels-last order."""
    keypoints: Tensor
    """(B, P, K, 3) float32, with people of no visible keypoint where others have more."""
    sizes: Tensor
    """(B, P) float32."""
    flipped: Tensor
    """(B,) bool."""
    labeled: Tensor
    """(B, K) bool."""
    masks: list[Tensor]
    """(B, h, w) bool, one a resolution."""
    largest: float = 0.0
    """The largest of `sizes`: known without asking a GPU."""

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; from pinned memory without waiting."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU can fetch from by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Any) -> Batch:  # noqa: ANN401
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "Tensor"}
        moved = {name: change(tensor) for name, tensor in tensors.items()}
        return replace(self, masks=[change(mask) for mask in self.masks], **moved)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples stacked; people padded to the most that one has."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Batch(
        [sample.name for sample in samples],
        images.permute(0, 3, 1, 2),
        pad_sequence([torch.from_numpy(s.keypoints) for s in samples], batch_first=True),
        pad_sequence([torch.from_numpy(s.sizes) for s in samples], batch_first=True),
        torch.tensor([sample.flipped for sample in samples]),
        torch.from_numpy(np.stack([sample.labeled for sample in samples])),
        [
            torch.from_numpy(np.stack(level))
            for level in zip(*(s.masks for s in samples), strict=True)
        ],
        max((float(size) for sample in samples for size in sample.sizes), default=0.0),
    )


class AugmentedSamples(Dataset[Sample]):
    """Augmented samples by key: the same key, the same sample, in whatever process."""

    def __init__(self, photographs: KeypointDataset, config: TrainConfig) -> None:
        self.photographs, self.config = photographs, config
        self._reported: set[str] = set()
        self.strides = tuple(4 >> level for level in range(1 + len(config.model.deconv_kernels)))

    def __getitem__(self, key: SampleKey) -> Sample:
        config, (epoch, place, index) = self.config, key
        rng = np.random.default_rng((config.run.seed, epoch, place))
        return augment(
            self.photograph(index, rng),
            config.augment,
            config.input,
            self.photographs.skeleton,
            rng,
            self.strides,
            lambda: self.photograph(int(rng.integers(len(self.photographs))), rng),
        )

    def photograph(self, index: int, rng: np.random.Generator) -> AnnotatedImage:
        """A photograph, or any other if it cannot be read.

        Raises:
            InputError: many in a row cannot be read.
        """
        for _ in range(_TRIES):
            try:
                return self.photographs[index]
            except InputError as error:
                if str(error) not in self._reported:
                    print(f"left out: {error}", file=sys.stderr, flush=True)
                self._reported.add(str(error))
                index = int(rng.integers(len(self.photographs)))
        raise InputError(f"none of {_TRIES} photographs can be read; look at them with check-data")


class BatchSampler:
    """Which photographs make which batch, of an endless training, for one process of several.

    Every epoch is shuffled anew. Each photograph is in it as often as its weight says; of the
    fraction over a whole number, by lot. The last batch is filled up from the epoch's beginning.

    Args:
        weights: (N,) times an epoch shows each photograph.
        batch_size: photographs a batch, in this process.
        seed: the same, the same order.
        rank: this process.
        world: how many there are.
    """

    def __init__(
        self, weights: np.ndarray, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.weights, self.seed = weights, seed
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.first = 0
        """The batch to begin with, counted from the start of the training."""
        self.batches_an_epoch = max(1, -(-round(weights.sum()) // (batch_size * world)))

    def epoch(self, number: int) -> list[SampleKey]:
        """All processes' samples of an epoch, in order."""
        rng = np.random.default_rng((self.seed, number))
        times = np.floor(self.weights + rng.random(len(self.weights))).astype(int)
        if not times.any():
            times[:] = 1
        chosen = rng.permutation(np.repeat(np.arange(len(times)), times))
        filled = np.resize(chosen, self.batches_an_epoch * self.batch_size * self.world)
        return [(number, place, int(index)) for place, index in enumerate(filled)]

    def __iter__(self) -> Iterator[list[SampleKey]]:
        number, start = divmod(self.first, self.batches_an_epoch)
        while True:
            mine = self.epoch(number)[self.rank :: self.world]
            for batch in range(start, self.batches_an_epoch):
                yield mine[batch * self.batch_size : (batch + 1) * self.batch_size]
            number, start = number + 1, 0


def load_batches(
    photographs: KeypointDataset, config: TrainConfig, order: BatchSampler, pin: bool = False
) -> Generator[Batch, None, None]:
    """Batches without end, read ahead by `config.data.workers` processes; close it to end these.

    Raises:
        InputError: many pictures in a row cannot be read.
    """
    workers = config.data.workers
    if workers is None:
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes on this machine
        workers = max(0, min(usable_cores() // beside - 1, 16))
    loader: DataLoader[Sample] = DataLoader(
        AugmentedSamples(photographs, config),
        batch_sampler=order,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_begin,
    )
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes are the parallelism; one forked beside threads may hang
    batches = iter(loader)
    cv2.setNumThreads(threads)
    try:
        yield from batches
    except InputError as error:  # to which a worker's adds its traceback
        raise InputError(str(error).strip().rpartition("InputError: ")[2]) from error
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise InputError(
            f"a process that reads pictures died, mostly for lack of memory ({error}); lower "
            "--workers, or give the container more shared memory (--shm-size)"
        ) from error
    finally:  # whoever still holds an error holds its traceback, and that the workers
        if workers:
            batches._shutdown_workers()  # type: ignore[attr-defined]
            for worker in batches._workers:  # type: ignore[attr-defined]
                worker.kill()  # one that hangs in a read; they do not hear of SIGTERM


def _begin(_: int) -> None:
    if cv2.getNumThreads() != 1:  # where processes are spawned, not forked
        cv2.setNumThreads(1)
    for stop in (signal.SIGINT, signal.SIGTERM):  # the training saves first, then ends them
        signal.signal(stop, signal.SIG_IGN)
