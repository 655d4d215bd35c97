"""The learning-rate schedule, against its formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("torch")

from higherhrnet.config.recipes import RECIPES
from higherhrnet.config.training import OptimConfig, Schedule
from higherhrnet.training.schedule import learning_rate


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 1e-3), (199.99, 1e-3), (200, 1e-4), (259.99, 1e-4), (260, 1e-5), (299.99, 1e-5)],
)
def test_the_papers_schedule(epoch: float, rate: float) -> None:
    optim = RECIPES["coco-w32-512"].optim
    assert learning_rate(optim, epoch / optim.epochs, epoch) == pytest.approx(rate)


@pytest.mark.parametrize("epochs", [30, 90, 210, 300])
def test_milestones_scale_with_the_number_of_epochs(epochs: int) -> None:
    optim = OptimConfig(epochs=epochs)
    rates = [learning_rate(optim, epoch / epochs, epoch) for epoch in range(epochs)]
    drops = [epoch for epoch in range(1, epochs) if rates[epoch] < rates[epoch - 1]]
    assert drops == [epochs * 2 // 3, math.ceil(epochs * 26 / 30)]


@pytest.mark.parametrize(
    ("schedule", "progress", "factor"),
    [
        ("linear", 0, 1), ("linear", 0.25, 0.75), ("linear", 1, 0),
        ("cosine", 0, 1), ("cosine", 1 / 3, 0.75), ("cosine", 0.5, 0.5), ("cosine", 1, 0),
        ("steps", 0.5, 1), ("steps", 0.7, 0.1), ("steps", 0.9, 0.01),
    ],
)  # fmt: skip
def test_each_schedule_equals_its_formula(
    schedule: Schedule, progress: float, factor: float
) -> None:
    optim = OptimConfig(schedule=schedule, lr=0.02)
    assert learning_rate(optim, progress, 99) == pytest.approx(0.02 * factor, abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_warmup_rises_from_a_tenth_to_the_scheduled_rate(schedule: Schedule) -> None:
    plain, warm = (OptimConfig(schedule=schedule, warmup=warmup) for warmup in (0, 3))

    def ratio(epoch: float) -> float:
        progress = epoch / 300
        return learning_rate(warm, progress, epoch) / learning_rate(plain, progress, epoch)

    assert [ratio(epoch) for epoch in (0, 1, 1.5, 2)] == pytest.approx([0.1, 0.4, 0.55, 0.7])
    assert ratio(3) == ratio(50) == 1


@pytest.mark.parametrize(("settings", "factor"), [({"scale_lr": True}, 8), ({}, 1)])
def test_scale_lr_multiplies_by_the_number_of_processes(
    settings: dict[str, Any], factor: int
) -> None:
    optim = OptimConfig(**settings)
    assert learning_rate(optim, 0, 0, 8) == pytest.approx(factor * learning_rate(optim, 0, 0))


def test_the_schedule_of_swahr_is_that_of_its_authors() -> None:
    """For width 32, 2.5e-4 times 8 processes; it rises for 3 epochs, and falls to 0 after 300."""
    for name, base in (
        ("coco-w32-512-swahr", 2e-3),
        ("coco-w48-640-swahr", 9.6e-4),
        ("crowdpose-w48-640-swahr", 9.6e-4),
    ):
        optim = RECIPES[name].optim
        for step in range(0, 3001, 7):  # of 10 in an epoch
            factor = 0.1 + 0.9 * step / 30 if step < 30 else 1 - (step - 30) / 2970
            rate = learning_rate(optim, step / 3000, step / 10, processes=8)
            assert rate == pytest.approx(base * factor, abs=1e-12), step


def test_the_linear_schedule_falls_after_the_warmup_also_if_the_time_is_limited() -> None:
    """With a limit of hours, the number of epochs of the whole training is not known."""
    optim = OptimConfig(schedule="linear", warmup=2, epochs=999)
    points = [(0, 0), (0.25, 1), (0.5, 2), (0.75, 3), (1, 4)]
    rates = [learning_rate(optim, *point) / optim.lr for point in points]
    assert rates == pytest.approx([0.1, 0.55, 1, 0.5, 0])


@pytest.mark.parametrize("epoch", [0, 0.5, 1])
def test_a_warmup_of_the_whole_training_never_falls(epoch: float) -> None:
    optim = OptimConfig(schedule="linear", warmup=2, epochs=1, lr=1)
    assert learning_rate(optim, epoch, epoch) == pytest.approx(0.1 + 0.45 * epoch)
