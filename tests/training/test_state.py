"""Steps of a training against the same steps written out plainly."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

torch = pytest.importorskip("torch")

from higherhrnet.data.dataset import load_dataset  # noqa: E402
from higherhrnet.data.loader import BatchSampler, load_batches  # noqa: E402
from higherhrnet.training.curves import Curves  # noqa: E402
from higherhrnet.training.initialize import build_network  # noqa: E402
from higherhrnet.training.network_with_losses import NetworkWithLosses  # noqa: E402
from higherhrnet.training.parallel import ProcessGroup  # noqa: E402
from higherhrnet.training.state import TrainState  # noqa: E402
from tests.training.conftest import COUNT, Small  # noqa: E402

ALONE = ProcessGroup(torch.device("cpu"))


def test_slow_parts_take_a_tenth_of_the_step(small: Small) -> None:
    config = small(slow=("stage2",), initialization="kaiming")
    trainer = TrainState(config, load_dataset(config.data), ALONE)
    before = {name: p.clone() for name, p in trainer.network.named_parameters()}
    with closing(trainer.batches()) as stream:
        trainer.learn(stream)
    for name, now in trainer.network.named_parameters():  # Adam's first step is the rate itself
        step = float((now - before[name]).abs().max())
        assert step == pytest.approx(1e-4 if name.startswith("stage2") else 1e-3, rel=0.05), name


def test_a_training_is_a_plain_loop(small: Small) -> None:
    """Two batches a step, clipped, decayed, warmed up over the first epoch: a step and a half."""
    config = small(
        initialization="kaiming", accumulate=2, clip=0.05, weight_decay=0.01, warmup=1, epochs=4
    )
    photographs = load_dataset(config.data)
    trainer = TrainState(config, photographs, ALONE)
    with closing(trainer.batches()) as stream:
        steps = [trainer.learn(stream) for _ in range(3)]
    assert trainer.step == 3 and trainer.epoch == 2 and trainer.progress == 0.5

    torch.manual_seed(config.run.seed)
    network, _ = build_network(config, photographs.skeleton)
    learner = NetworkWithLosses(network, config)
    adam = torch.optim.Adam(learner.parameters(), 1e-3, weight_decay=0.01, fused=True)
    order = BatchSampler(np.ones(COUNT), 4, config.run.seed)
    with closing(load_batches(photographs, config, order)) as stream:
        batches = list(islice(stream, 6))
    for step, (losses, names) in enumerate(steps):
        both = batches[2 * step : 2 * step + 2]
        assert names == both[0].names + both[1].names
        adam.zero_grad()
        wanted: dict[str, float] = dict.fromkeys(losses, 0.0)
        for batch in both:
            terms = learner(batch)
            (sum(terms.values()) / 2).backward()
            for name, term in terms.items():
                wanted[name] += term.item() / 2
        assert {n: loss.item() for n, loss in losses.items()} == pytest.approx(wanted, rel=1e-5)
        gradients = [p.grad for p in learner.parameters() if p.grad is not None]
        norm = sum(float(gradient.square().sum()) for gradient in gradients) ** 0.5
        assert norm > 0.05
        for gradient in gradients:
            gradient.mul_(0.05 / (norm + 1e-6))
        warm = 0.1 + 0.9 * min(1, step * 2 / 3)
        adam.param_groups[0]["lr"] = 1e-3 * warm
        adam.step()
    theirs = learner.state_dict()
    for name, tensor in trainer.learner.state_dict().items():
        # Adam makes whole steps of a gradient's last bits where it is next to nothing.
        assert (tensor - theirs[name]).abs().float().mean() < 1e-5, name


@pytest.mark.parametrize("decay", [0.0, 1e-4])
def test_weight_decay_reaches_adam(decay: float, small: Small) -> None:
    config = small(weight_decay=decay)
    trainer = TrainState(config, load_dataset(config.data), ALONE)
    (group,) = trainer.optimizer.param_groups
    assert isinstance(trainer.optimizer, torch.optim.Adam) and group["weight_decay"] == decay
    weight = trainer.network.conv1.weight
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    trainer.optimizer.step()
    moved = not torch.equal(weight, before)
    assert moved == (decay > 0)  # the loss asked for nothing


def test_a_line_says_what_will_be_done(small: Small) -> None:
    config = small(accumulate=2)
    said = TrainState(config, load_dataset(config.data), ALONE).describe()
    assert "\n" not in said
    for fact in ("coco", f"{COUNT} photographs", "steps of 8", "f32", "from nothing"):
        assert fact in said


@pytest.mark.parametrize("steps", [0, 1, 7000])
def test_curves_of_any_length_can_be_drawn(steps: int, tmp_path: Path) -> None:
    curves = Curves()
    for step in range(1, steps + 1):
        curves.add({"step": step, "epoch": step / 10, "loss": 1 / step, "pull": 0.0, "lr": 1e-3})
        if step % 1000 == 0:
            curves.add({"step": step, "epoch": step / 10, "AP": step / 10000, "AP50": -1, "AR": 0})
    curves.draw(tmp_path / "curves.png")
    with Pillow.open(tmp_path / "curves.png") as opened:
        assert np.ptp(np.asarray(opened)) > 100
