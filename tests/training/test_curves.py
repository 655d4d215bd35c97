"""Plots of the losses and the AP of a training run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("torch")

from higherhrnet.config.training import RunConfig, TrainConfig
from higherhrnet.training.curves import TrainingCurves
from higherhrnet.training.run_folder import RunFolder
from tests.training.conftest import curve_pixels


def draw(steps: int, path: Path) -> Path:
    """Plots a loss that falls and an AP that rises with each step."""
    curves = TrainingCurves()
    for step in range(1, steps + 1):
        curves.add({"step": step, "epoch": step / 10, "loss": 1 / step, "lr": 1e-3})
        if step % (steps // 7) == 0:
            curves.add({"step": step, "epoch": step / 10, "AP": step / steps, "AP50": -1, "AR": -1})
    curves.draw(path)
    return path


@pytest.mark.parametrize("steps", [7, 7000])
def test_curves_of_short_and_long_runs_fall_and_rise(steps: int, tmp_path: Path) -> None:
    losses, ap = curve_pixels(draw(steps, tmp_path / "curves.png"))
    assert len(losses) > 100 and len(ap) > 100
    assert np.corrcoef(losses.T)[0, 1] > 0.5  # columns count to the right, rows downwards
    assert np.corrcoef(ap.T)[0, 1] < -0.5


def test_a_run_without_steps_gives_an_empty_plot(tmp_path: Path) -> None:
    TrainingCurves().draw(tmp_path / "curves.png")
    losses, ap = curve_pixels(tmp_path / "curves.png")
    assert len(losses) == len(ap) == 0


def test_the_plot_of_a_run_contains_the_validation_after_the_last_step(tmp_path: Path) -> None:
    folder = RunFolder(TrainConfig(run=RunConfig(out=tmp_path)))
    folder.log(1, 1.0, {"loss": 0.5})
    folder.save_state({})
    _, before = curve_pixels(tmp_path / "curves.png")
    folder.log_validation(1, 1.0, {"AP": 0.5, "AP50": 0.7, "AR": 0.6})
    folder.close()
    _, after = curve_pixels(tmp_path / "curves.png")
    assert len(before) == 0 and len(after) > 0
