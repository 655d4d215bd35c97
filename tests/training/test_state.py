"""Training steps against the same steps written as a plain loop."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from higherhrnet.config.training import TrainConfig
from higherhrnet.data.dataset import load_dataset
from higherhrnet.data.loader import BatchSampler, load_batches
from higherhrnet.training.initialize import build_network
from higherhrnet.training.learners import build_learner
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.training.state import TrainState
from tests.training.conftest import NUM_SCENES, MakeConfig


def new_state(config: TrainConfig) -> TrainState:
    return TrainState(config, load_dataset(config.data), ProcessGroup(torch.device("cpu")))


def test_slow_modules_make_a_tenth_of_the_step(make_config: MakeConfig) -> None:
    state = new_state(make_config(slow=("stage2",), initialization="kaiming"))
    before = {name: p.detach().clone() for name, p in state.network.named_parameters()}
    with closing(state.batches()) as batches:
        state.train_step(batches)
    for name, after in state.network.named_parameters():  # Adam's first step has this length
        step = float((after.detach() - before[name]).abs().max())
        assert step == pytest.approx(1e-4 if name.startswith("stage2") else 1e-3, rel=0.05), name


def test_training_steps_equal_a_plain_loop(make_config: MakeConfig) -> None:
    """Two batches per step, clipping, weight decay, and an epoch (1.5 steps) of warmup."""
    config = make_config(
        initialization="kaiming", accumulate=2, clip=0.05, weight_decay=0.01, warmup=1, epochs=4
    )
    state = new_state(config)
    with closing(state.batches()) as stream:
        steps = [state.train_step(stream) for _ in range(3)]
    assert state.step == 3 and state.epoch == 2 and state.progress == 0.5

    torch.manual_seed(config.run.seed)
    network, _ = build_network(config, state.dataset.skeleton)
    module = build_learner(network, config)
    adam = torch.optim.Adam(module.parameters(), 1e-3, weight_decay=0.01, fused=True)
    sampler = BatchSampler(np.ones(NUM_SCENES), 4, config.run.seed)
    with closing(load_batches(state.dataset, config, sampler)) as stream:
        batches = list(islice(stream, 6))
    for step, (losses, names) in enumerate(steps):
        step_batches = batches[2 * step : 2 * step + 2]
        assert names == step_batches[0].names + step_batches[1].names
        adam.zero_grad()
        expected: dict[str, float] = dict.fromkeys(losses, 0.0)
        for batch in step_batches:
            batch_losses = module(batch)
            (sum(batch_losses.values()) / 2).backward()
            for name, loss in batch_losses.items():
                expected[name] += loss.item() / 2
        assert {n: loss.item() for n, loss in losses.items()} == pytest.approx(expected, rel=1e-5)
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        norm = sum(float(gradient.square().sum()) for gradient in gradients) ** 0.5
        assert norm > 0.05
        for gradient in gradients:
            gradient.mul_(0.05 / (norm + 1e-6))
        adam.param_groups[0]["lr"] = 1e-3 * (0.1 + 0.9 * min(1, step * 2 / 3))
        adam.step()
    expected_state = module.state_dict()
    for name, tensor in state.learner.state_dict().items():
        # Adam amplifies rounding errors of gradients that are nearly 0.
        assert (tensor - expected_state[name]).abs().float().mean() < 1e-5, name


@pytest.mark.parametrize("decay", [0.0, 1e-4])
def test_adam_applies_the_weight_decay(decay: float, make_config: MakeConfig) -> None:
    state = new_state(make_config(weight_decay=decay))
    weight = state.network.conv1.weight
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    state.optimizer.step()
    assert torch.equal(weight, before) == (decay == 0)  # the gradient is 0


def test_max_hours_replaces_the_number_of_epochs(make_config: MakeConfig) -> None:
    state = new_state(make_config(max_hours=2, schedule="linear", lr=0.01, epochs=1e-6))
    assert state.progress == 0 and state.learning_rate() == 0.01
    state.seconds = 5400.0
    assert state.progress == 0.75 and state.learning_rate() == pytest.approx(0.0025)
    state.seconds = 9999.0
    assert state.progress == 1


def test_the_run_is_described_in_one_line(make_config: MakeConfig) -> None:
    assert new_state(make_config(accumulate=2)).describe() == (
        f"coco, {NUM_SCENES} images, 2 steps of 8 images per epoch, f32 on 1 × cpu, "
        "0 loader processes; starting, initialized from random weights"
    )
