"""Times of the associative-embedding loss, forward and backward: a plain loop and ours.

python -m benchmarks.losses

The loop does what the original's code does, in the same steps: each image, person and keypoint by
itself, a small tensor operation each.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import tyro
from torch import Tensor

from higherhrnet.training.losses import tag_loss


def loop(tags: Tensor, places: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The loss with a loop over images, people and keypoints."""
    nothing = tags.new_zeros(())
    pulls, pushes = [], []
    cells = tags[0, 0].numel()
    for image, flat in enumerate(tags.flatten(1)):
        means: list[Tensor] = []
        pull = nothing
        for person in range(places.shape[1]):
            read = []
            for k in range(places.shape[2]):
                if seen[image, person, k]:
                    read.append(flat[k * cells + places[image, person, k]])
            if not read:
                continue
            means.append(torch.stack(read).mean())
            pull = pull + ((torch.stack(read) - means[-1]) ** 2).mean()
        count = len(means)
        pulls.append(pull / max(count, 1))
        if count < 2:
            pushes.append(nothing)
            continue
        each = torch.stack(means).expand(count, count)
        near = torch.exp(-((each - each.T) ** 2)).sum() - count
        pushes.append(0.5 * near / (count * (count - 1)))
    return torch.stack(pulls), torch.stack(pushes)


def timed(loss: Callable[[], tuple[Tensor, Tensor]], tags: Tensor) -> tuple[float, Tensor]:
    """Seconds of a forward and backward pass, and the gradient."""
    tags.grad = None
    start = perf_counter()
    pull, push = loss()
    torch.autograd.backward(pull.mean() + push.mean())
    seconds = perf_counter() - start
    assert tags.grad is not None
    return seconds, tags.grad.clone()


def main(batch: int = 16, people: int = 8, keypoints: int = 17, runs: int = 30) -> None:
    """Prints medians (least–most) and their ratio; the two take turns.

    Args:
        batch: Images.
        people: In each, all keypoints visible.
        keypoints: Of each, with a 128×128 tag map.
        runs: Counted ones, after one that is not.
    """
    torch.manual_seed(0)
    tags = torch.randn(batch, keypoints, 128, 128, requires_grad=True)
    places = torch.randint(0, 128 * 128, (batch, people, keypoints))
    seen = torch.ones(batch, people, keypoints, dtype=torch.bool)
    ways = {
        "loop": lambda: loop(tags, places, seen),
        "vectorised": lambda: tag_loss(tags, places, seen, "exp"),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs + 1):
        gradients = []
        for name, way in ways.items():
            seconds, gradient = timed(way, tags)
            gradients.append(gradient)
            if run:
                times[name].append(1e3 * seconds)
        torch.testing.assert_close(*gradients)
    print(
        f"batch {batch}, {people} people, {keypoints} keypoints, {torch.get_num_threads()} threads"
    )
    for name, taken in times.items():
        print(f"{name:12} {median(taken):9.3f} ms ({min(taken):.3f}–{max(taken):.3f})")
    print(f"ratio        {median(times['loop']) / median(times['vectorised']):9.0f}×")


if __name__ == "__main__":
    tyro.cli(main)
