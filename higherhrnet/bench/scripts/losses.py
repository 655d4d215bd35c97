"""Measures the associative-embedding loss, forward and backward, against a plain loop.

The loop takes the steps of the reference implementation: small tensor operations for each image,
person and keypoint. Run it with `python -m higherhrnet.bench.scripts.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import tyro
from torch import Tensor

from higherhrnet.bench.tables import markdown_table
from higherhrnet.bench.timing import Measurement, time_in_turn
from higherhrnet.training.losses import tag_loss

Loss = Callable[..., tuple[Tensor, Tensor]]


def loop_loss(tags: Tensor, cells: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """The pull and push losses of each image; see `tag_loss`."""
    pulls, pushes = [], []
    for image, maps in enumerate(tags.flatten(1)):
        means, pull, push = [], tags.new_zeros(()), tags.new_zeros(())
        for person, seen in zip(cells[image], visible[image], strict=True):
            values = [maps[k * tags[0, 0].numel() + person[k]] for k in seen.nonzero()[:, 0]]
            if values:
                means.append(torch.stack(values).mean())
                pull = pull + ((torch.stack(values) - means[-1]) ** 2).mean()
        count = len(means)
        if count > 1:
            grid = torch.stack(means).expand(count, count)
            push = torch.exp(-((grid - grid.T) ** 2)).sum() - count
        pulls.append(pull / max(count, 1))
        pushes.append(0.5 * push / max(count * (count - 1), 1))
    return torch.stack(pulls), torch.stack(pushes)


def gradient(loss: Loss, tags: Tensor, *people: Tensor) -> Tensor:
    """The gradient of both losses with respect to the tags."""
    pull, push = loss(tags, *people)
    return torch.autograd.grad(pull.mean() + push.mean(), tags)[0]


def main(batch: int = 16, people: int = 8, runs: int = 30) -> None:
    """Checks that the gradients are equal, and prints the duration of each loss.

    Args:
        batch: Number of images, each with 17 tag maps of 128×128.
        people: Number of people in each image, with 17 visible keypoints.
        runs: Number of measured runs.
    """
    torch.manual_seed(0)
    tags = torch.randn(batch, 17, 128, 128, requires_grad=True)
    cells = torch.randint(0, 128 * 128, (batch, people, 17))
    inputs = tags, cells, torch.ones(batch, people, 17, dtype=torch.bool)
    losses: dict[str, Loss] = {"loop": loop_loss, "vectorized": partial(tag_loss, push_type="exp")}
    calls = {name: partial(gradient, loss, *inputs) for name, loss in losses.items()}
    torch.testing.assert_close(*(call() for call in calls.values()))
    measured = {
        name: Measurement.of(1e3 * each for each in seconds)
        for name, seconds in time_in_turn(calls, runs).items()
    }
    print(f"{batch} images of {people} people, {torch.get_num_threads()} threads\n")
    rows = [
        [name, each, f"{measured['loop'].median / each.median:.1f}"]
        for name, each in measured.items()
    ]
    print(markdown_table(["loss", "milliseconds", "speed-up"], rows))


if __name__ == "__main__":
    tyro.cli(main)
