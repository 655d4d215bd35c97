"""Measures the loading of images on one core, and the parts of a training step.

Run it with `python -m higherhrnet.bench.scripts.training --train annotations.json`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tyro

from higherhrnet.bench.tables import markdown_table
from higherhrnet.bench.timing import Measurement, timed
from higherhrnet.config.recipes import RECIPES
from higherhrnet.config.training import TrainPrecision
from higherhrnet.data.dataset import load_dataset
from higherhrnet.data.loader import Batch
from higherhrnet.hardware import usable_cores
from higherhrnet.synthetic.scenes import write_scenes
from higherhrnet.training.parallel import process_group
from higherhrnet.training.state import TrainState


def time_step(state: TrainState, batch: Batch) -> dict[str, float]:
    """The durations in seconds of the parts of one training step."""
    state.optimizer.zero_grad(set_to_none=True)
    forward, losses = timed(lambda: state.parallel(batch.to(state.group.device)))
    backward, _ = timed(torch.autograd.backward, sum(losses.values()))
    optimizer, _ = timed(state.optimizer.step)
    parts = {"forward and losses": forward, "backward": backward, "optimizer": optimizer}
    return parts | {"complete step": sum(parts.values())}


def main(
    train: str | None = None,
    recipe: str = "coco-w32-512",
    width: int | None = None,
    batch_size: int | None = None,
    size: int | None = None,
    compile: bool = False,
    precision: TrainPrecision = "auto",
    threads: int | None = None,
    runs: int = 5,
) -> None:
    """Prints the duration of each part, and how many cores load images as fast as steps use them.

    Args:
        train: ANNOTATIONS[,IMAGES] as in `higherhrnet train` (default: synthetic scenes, 640×480).
        recipe: The name of the recipe.
        width: Number of channels at stride 4 (default: that of the recipe).
        batch_size: Number of images per step (default: that of the recipe).
        size: Side of a crop in pixels (default: that of the recipe).
        compile: Compile the network with torch.compile.
        precision: The arithmetic of the network; auto as in `higherhrnet train`.
        threads: Number of CPU threads of the steps (default: all cores).
        runs: Number of measured batches and steps, after two of each for warm-up.
    """
    with TemporaryDirectory() as folder, process_group() as group:
        config = RECIPES[recipe]
        batch_size = batch_size or config.optim.batch_size
        train = train or str(write_scenes(Path(folder), 32, height=480, width=640))
        config = replace(
            config,
            model=replace(config.model, width=width or config.model.width),
            input=replace(config.input, size=size or config.input.size),
            data=replace(config.data, train=(train,), workers=0),
            optim=replace(config.optim, batch_size=batch_size),
            run=replace(config.run, compile=compile, precision=precision),
        )
        state = TrainState(config, load_dataset(config.data), group)
        side, arithmetic = state.config.input.size, state.config.run.precision
        settings = f"width {state.config.model.width}, batch size {batch_size}, {side} pixels"
        settings += f", {arithmetic}{', compiled' if compile else ''}"
        # Printed first, because compiling may take minutes.
        print(f"{recipe}, {settings}, {group.device}, {usable_cores()} cores\n", flush=True)
        batches = state.batches()
        torch.set_num_threads(1)
        loads = [timed(next, batches) for _ in range(runs + 2)]
        torch.set_num_threads(threads or usable_cores())
        steps = [time_step(state, batch) for _, batch in loads]
    seconds = {"loading, one core": [duration for duration, _ in loads]}
    seconds |= {part: [step[part] for step in steps] for part in steps[0]}
    measured = {
        part: Measurement.of(1e3 * value for value in each[2:]) for part, each in seconds.items()
    }
    images = 1e3 * batch_size
    rows = [[part, each, f"{images / each.median:.1f}"] for part, each in measured.items()]
    print(markdown_table(["part", "ms per batch", "images/s"], rows))
    cores = measured["loading, one core"].median / measured["complete step"].median
    print(f"\nLoading is as fast as the steps with {cores:.2g} cores.")


if __name__ == "__main__":
    tyro.cli(main)
