"""The precision that `auto` selects, by the hardware and by the run to resume."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from higherhrnet.config.training import TrainConfig, TrainPrecision
from higherhrnet.data.dataset import load_dataset
from higherhrnet.training.loop import run_training
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.training.precision import resolve_precision
from higherhrnet.training.state import TrainState
from higherhrnet.training.tag_learner import TagLearner
from tests.training.conftest import MakeConfig
from tests.training.processes import run_in_two_processes

ALONE = ProcessGroup(torch.device("cpu"))


def fake_bf16(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr("higherhrnet.training.precision.computes_bf16", lambda device: native)


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "f32")])
def test_auto_is_bf16_where_the_device_computes_in_it(
    native: bool,
    expected: str,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_bf16(monkeypatch, native)
    config = make_config(precision="auto", epochs=0.1)
    assert TrainConfig().run.precision == "auto"
    state = TrainState(config, load_dataset(config.data), ALONE)
    module, recorded = state.learner, list[object]()
    assert isinstance(module, TagLearner)
    module.network.final_layers[0].register_forward_hook(lambda *a: recorded.append(a[2].dtype))
    assert run_training(config)
    with torch.no_grad():
        module._predict(torch.zeros(1, 3, 64, 64))
    assert recorded == [{"bf16": torch.bfloat16, "f32": torch.float32}[expected]]
    stderr = capsys.readouterr().err
    assert f", {expected} on 1 × cpu, 0 loader processes; starting" in stderr
    assert "is slow" not in stderr
    saved = json.loads((config.run.out / "config.json").read_text())
    assert saved["run"]["precision"] == expected


@pytest.mark.slow
@pytest.mark.parametrize(("before", "native"), [("bf16", False), ("f32", True)])
def test_a_resumed_run_keeps_its_precision_on_another_machine(
    before: TrainPrecision,
    native: bool,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_bf16(monkeypatch, not native)
    config = make_config(precision="auto", epochs=0.1)
    assert run_training(config)
    fake_bf16(monkeypatch, native)
    resumed = replace(
        config, optim=replace(config.optim, epochs=0.5), run=replace(config.run, resume=True)
    )
    capsys.readouterr()
    assert run_training(resumed)
    stderr = capsys.readouterr().err
    assert f"{before} on 1 × cpu, 0 loader processes; resuming" in stderr
    assert "--precision is" not in stderr
    assert ("--precision f32 is faster" in stderr) == (before == "bf16")
    saved = json.loads((config.run.out / "config.json").read_text())
    assert saved["run"]["precision"] == before


def test_a_changed_precision_is_used_and_reported(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(precision="f32", epochs=0.1)
    assert run_training(config)
    other = replace(config.run, precision="bf16", resume=True)
    assert run_training(replace(config, run=other))
    assert "changed settings: --precision is bf16, was f32" in capsys.readouterr().err


def test_processes_compute_in_f32_if_one_of_them_emulates_bf16(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(precision="auto")

    def work(group: ProcessGroup) -> str:
        fake_bf16(monkeypatch, group.is_main)
        return resolve_precision(config, group).run.precision

    assert run_in_two_processes(work) == ["f32", "f32"]
