"""Without a terminal, the progress of a training is lines instead of a bar."""

from __future__ import annotations

import pytest

from higherhrnet.training import progress
from higherhrnet.training.progress import ProgressDisplay


@pytest.mark.parametrize("interval", [0, 3600])
def test_lines_are_printed_at_intervals(
    interval: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_LINE_INTERVAL", interval)
    with ProgressDisplay(0, enabled=True) as display:
        display.write("started")
        display.update(10, 0.25, 1.5, {"loss": 0.123, "lr": 1e-3}, 180)
        display.update(20, 0.5, 3, {"loss": 0.1, "lr": 1e-3}, 120)
    lines = [
        "epoch 1.50, step 10: loss 0.12, lr 0.001, 3 minutes left",
        "epoch 3.00, step 20: loss 0.1, lr 0.001, 2 minutes left",
    ]
    assert capsys.readouterr().err.splitlines() == ["started", *([] if interval else lines)]


def test_processes_other_than_the_main_one_print_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressDisplay(0, enabled=False) as display:
        display.write("started")
        display.update(10, 0.25, 1.5, {"loss": 0.123}, 180)
    assert capsys.readouterr() == ("", "")
