"""Where the time of a training step goes, and how many images a second loaders give.

python -m benchmarks.training --train annotations.json

Loading is measured by itself, in one process without workers: that many images a second a core can
be had. A step's other parts are measured on batches that are there already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
import tyro
from torch import Tensor

from higherhrnet.data.dataset import load_dataset
from higherhrnet.data.loader import Batch
from higherhrnet.hardware import usable_cores
from higherhrnet.recipes import RECIPES, TrainPrecision
from higherhrnet.synthetic.scenes import write_scenes
from higherhrnet.training.parallel import process_group
from higherhrnet.training.state import TrainState

PARTS = ("forward and losses", "backward", "optimiser", "all of a step")


def now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def step(trainer: TrainState, batch: Batch) -> list[float]:
    """Seconds of the parts of one step on a batch that is loaded."""
    device = trainer.world.device
    marks = [now(device)]
    trainer.optimizer.zero_grad(set_to_none=True)
    losses: dict[str, Tensor] = trainer.parallel(batch.to(device))
    marks.append(now(device))
    torch.autograd.backward(sum(losses.values(), torch.zeros((), device=device)))
    marks.append(now(device))
    trainer.optimizer.step()
    if trainer.average:
        trainer.average.update(1)
    marks.append(now(device))
    parts = [after - before for before, after in pairwise(marks)]
    return [*parts, sum(parts)]


def loading(batches: Iterator[Batch], count: int) -> float:
    """Images a second."""
    next(batches)
    start, images = perf_counter(), 0
    for batch in islice(batches, count):
        images += len(batch.names)
    return images / (perf_counter() - start)


def main(
    train: str | None = None,
    recipe: str = "coco-w32-512",
    batch_size: int | None = None,
    ema: bool = False,
    compile: bool = False,
    precision: TrainPrecision = "bf16",
    steps: int = 5,
    loaded: int = 8,
) -> None:
    """Prints the times.

    Args:
        train: ANNOTATIONS[,PICTURES] of photographs; drawn scenes of 640×480 if not said.
        recipe: What is trained.
        batch_size: The recipe's if not said.
        ema: With a running average of the weights.
        compile: With torch.compile.
        precision: Of the network.
        steps: Counted ones, after two that are not.
        loaded: Batches that are loaded to measure that.
    """
    with TemporaryDirectory() as folder, process_group() as world:
        if train is None:
            train = str(write_scenes(Path(folder), 32, height=480, width=640))
        config = RECIPES[recipe]
        optim = replace(
            config.optim,
            batch_size=batch_size or config.optim.batch_size,
            ema=0.999 if ema else None,
        )
        config = replace(
            config,
            data=replace(config.data, train=(train,), workers=0),
            optim=optim,
            run=replace(config.run, compile=compile, precision=precision),
        )
        trainer = TrainState(config, load_dataset(config.data), world)
        size, batches = optim.batch_size, trainer.batches()
        torch.set_num_threads(1)  # a core alone, as each worker has
        speed = loading(batches, loaded)
        torch.set_num_threads(usable_cores())
        batch = next(batches)
        taken = [step(trainer, batch) for _ in range(steps + 2)][2:]
    print(f"{recipe}, batch {size}, {precision}, {world.device}, {usable_cores()} cores")
    print(f"loading: {speed:.1f} images a second a core, {1e3 / speed:.1f} ms each")
    for name, times in zip(PARTS, zip(*taken, strict=True), strict=True):
        middle = median(times)
        share = f"{middle:8.3f} s ({min(times):.3f}–{max(times):.3f})"
        print(f"{name:20}{share}  {size / middle:8.1f} images a second")


if __name__ == "__main__":
    tyro.cli(main)
