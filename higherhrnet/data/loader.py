"""Loads batches: images are read and augmented in worker processes.

The batches do not depend on the number of processes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from higherhrnet.arrays import DoubleArray
from higherhrnet.config.data import DataConfig
from higherhrnet.config.training import TrainConfig
from higherhrnet.data.augment import Prepare, Sample, augment
from higherhrnet.data.dataset import AnnotatedImage, KeypointDataset
from higherhrnet.errors import InputError
from higherhrnet.hardware import usable_cores

SampleKey = tuple[int, int, int]
"""Epoch, position in the epoch and index of the image; they determine the sample."""

_MAX_ATTEMPTS = 20
"""Number of images that are tried for one sample before reading fails with an error."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples; see `Sample` for the meaning of the fields."""

    names: list[str]
    images: Tensor
    """(B, 3, S, S) uint8, in channels-last order."""
    keypoints: Tensor
    """(B, P, K, 3) float32, padded with people whose values are 0."""
    sizes: Tensor
    """(B, P) float32, or float64 with centers, padded with 0."""
    flipped: Tensor
    """(B,) bool."""
    labeled: Tensor
    """(B, K) bool."""
    masks: list[Tensor]
    """(B, h, w) bool, one for each stride."""
    largest: float = 0.0
    """The maximum of `sizes`, which is stored so that a GPU need not be synchronized to get it."""

    def to(self, device: torch.device) -> Batch:
        """Copies the batch to a device, asynchronously if it is in pinned memory."""

        def copy(tensor: Tensor) -> Tensor:
            if device.type == "mps" and tensor.dtype == torch.float64:  # which it does not have
                tensor = tensor.float()
            return tensor.to(device, non_blocking=True)

        return self._map_tensors(copy)

    def pin_memory(self) -> Batch:
        """Copies the batch to pinned memory."""
        return self._map_tensors(Tensor.pin_memory)

    def _map_tensors(self, function: Callable[[Tensor], Tensor]) -> Batch:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        mapped: dict[str, Any] = {
            name: function(value) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, masks=[function(mask) for mask in self.masks], **mapped)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples into a batch, and pads the people to the largest number in a sample."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Batch(
        [sample.name for sample in samples],
        images.permute(0, 3, 1, 2),
        pad_sequence([torch.from_numpy(s.keypoints) for s in samples], batch_first=True),
        pad_sequence([torch.from_numpy(s.sizes) for s in samples], batch_first=True),
        torch.tensor([sample.flipped for sample in samples]),
        torch.from_numpy(np.stack([sample.labeled for sample in samples])),
        [
            torch.from_numpy(np.stack(masks))
            for masks in zip(*(s.masks for s in samples), strict=True)
        ],
        max((float(size) for sample in samples for size in sample.sizes), default=0.0),
    )


class AugmentedSamples(Dataset[Sample]):
    """Augmented samples by key; equal keys give equal samples in every process."""

    def __init__(
        self, dataset: KeypointDataset, config: TrainConfig, prepare: Prepare | None = None
    ) -> None:
        self.dataset, self.config, self.prepare = dataset, config, prepare
        self._reported: set[str] = set()

    def __getitem__(self, key: SampleKey) -> Sample:
        config, (epoch, position, index) = self.config, key
        rng = np.random.default_rng((config.run.seed, epoch, position))
        return augment(
            self._read(index, rng),
            config.augment,
            config.input,
            self.dataset.skeleton,
            rng,
            config.model.heatmap_strides,
            lambda: self._read(int(rng.integers(len(self.dataset))), rng),
            self.prepare,
        )

    def _read(self, index: int, rng: np.random.Generator) -> AnnotatedImage:
        """Reads an image, or a random other one if it cannot be read."""
        for _ in range(_MAX_ATTEMPTS):
            try:
                return self.dataset[index]
            except InputError as error:
                if str(error) not in self._reported:
                    print(f"image skipped: {error}", file=sys.stderr, flush=True)
                self._reported.add(str(error))
                index = int(rng.integers(len(self.dataset)))
        raise InputError(
            f"none of {_MAX_ATTEMPTS} random images can be read; find the errors in the data with "
            "higherhrnet check-data"
        )


class BatchSampler(Sampler[list[SampleKey]]):
    """Samples an endless sequence of batches for one of several training processes.

    Each epoch is in a new random order. The weight of an image is how often an epoch uses it; the
    fractional part of a weight is the probability of using the image once more. The last batch of
    an epoch is filled with the first images of the epoch.

    Args:
        weights: (N,) how often an epoch uses each image.
        batch_size: number of images per batch in this process.
        seed: seed of the random numbers.
        rank: the index of this process.
        world_size: the number of processes.
    """

    def __init__(
        self,
        weights: DoubleArray,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.weights, self.seed = weights, seed
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.start_batch = 0
        """The batch to start with, counted from the start of the training."""
        self.batches_per_epoch = max(1, -(-round(weights.sum()) // (batch_size * world_size)))

    def epoch_keys(self, epoch: int) -> list[SampleKey]:
        """Returns the keys of an epoch's samples in all processes."""
        rng = np.random.default_rng((self.seed, epoch))
        counts = np.floor(self.weights + rng.random(len(self.weights))).astype(int)
        if not counts.any():
            counts[:] = 1
        order = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        filled = np.resize(order, self.batches_per_epoch * self.batch_size * self.world_size)
        return [(epoch, position, int(index)) for position, index in enumerate(filled)]

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, start = divmod(self.start_batch, self.batches_per_epoch)
        while True:
            keys = self.epoch_keys(epoch)[self.rank :: self.world_size]
            for batch in range(start, self.batches_per_epoch):
                yield keys[batch * self.batch_size : (batch + 1) * self.batch_size]
            epoch, start = epoch + 1, 0


def loader_workers(config: DataConfig) -> int:
    """Returns the number of data-loading processes of this training process.

    By default one core remains for the training process, and no more than 16 processes load data.
    """
    if config.workers is not None:
        return config.workers
    local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(0, min(usable_cores() // local_processes - 1, 16))


def load_batches(
    dataset: KeypointDataset,
    config: TrainConfig,
    sampler: BatchSampler,
    pin_memory: bool = False,
    prepare: Prepare | None = None,
) -> Generator[Batch, None, None]:
    """Loads an endless sequence of batches ahead of time, in worker processes.

    The processes end when the generator is closed.

    Args:
        dataset: the images.
        config: the training; `data.workers` is the number of processes.
        sampler: determines the images of each batch.
        pin_memory: whether to return batches in pinned memory.
        prepare: changes the people of each image, as in `augment`.

    Raises:
        InputError: many images cannot be read, or a worker process was killed.
    """
    workers = loader_workers(config.data)
    loader: DataLoader[Sample] = DataLoader(
        AugmentedSamples(dataset, config, prepare),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_init_worker,
    )
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # a process that is forked from one with OpenCV threads may hang
    batches = iter(loader)
    cv2.setNumThreads(threads)
    try:
        yield from batches
    except InputError as error:  # PyTorch adds the worker's traceback to the message
        message = str(error.args[0])
        raise InputError(message.strip().rpartition("InputError: ")[2]) from error
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise InputError(
            f"a process that loads images was killed, most likely for lack of memory ({error}); "
            "lower --workers, or give the container more shared memory (--shm-size)"
        ) from error
    finally:  # an error's traceback may keep the iterator alive, which would keep the workers alive
        if workers:
            batches._shutdown_workers()  # type: ignore[attr-defined]
            for worker in batches._workers:  # type: ignore[attr-defined]
                worker.kill()  # workers that hang while reading; they ignore SIGTERM


def _init_worker(_: int) -> None:
    if cv2.getNumThreads() != 1:  # in processes that are spawned, not forked
        cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):  # the training saves, then ends the workers
        signal.signal(number, signal.SIG_IGN)
