"""Complete training runs: the files they write, and that interrupted runs give the same result."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

torch = pytest.importorskip("torch")

from safetensors.torch import load_file
from tensorboard.backend.event_processing import event_accumulator

from higherhrnet.config.training import TrainConfig
from higherhrnet.errors import InputError
from higherhrnet.inference.predictor import Predictor
from higherhrnet.network import checkpoint
from higherhrnet.poses.skeletons import COCO
from higherhrnet.training import run_folder
from higherhrnet.training.loop import run_training
from tests.conftest import RunMain
from tests.training.conftest import (
    NUM_SCENES,
    MakeConfig,
    command_line,
    curve_pixels,
    small_config,
)
from tests.training.processes import run_in_processes

BATCHES = 3
"""Batches in an epoch."""


def entries(config: TrainConfig, kind: str = "loss") -> list[dict[str, Any]]:
    """The entries of steps (`loss`) or validations (`AP`), without measured speeds."""
    text = (config.run.out / "metrics.jsonl").read_text()
    selected = [entry for entry in map(json.loads, text.splitlines()) if kind in entry]
    return [{name: e[name] for name in e if name != "images_per_second"} for e in selected]


def steps(config: TrainConfig, kind: str = "loss") -> list[int]:
    return [entry["step"] for entry in entries(config, kind)]


def resume(config: TrainConfig) -> TrainConfig:
    return replace(config, run=replace(config.run, resume=True))


def with_out(config: TrainConfig, name: str) -> TrainConfig:
    return replace(config, run=replace(config.run, out=config.run.out.with_name(name)))


def with_steps(config: TrainConfig, count: int, total: int) -> TrainConfig:
    """The first steps of a training of `total` steps, with the same learning rates."""
    optim = config.optim
    epochs = count * optim.accumulate / BATCHES
    milestones = tuple(milestone * total / count for milestone in optim.milestones)
    return replace(config, optim=replace(optim, epochs=epochs, milestones=milestones))


ALL_FEATURES = {
    "ema": 0.9, "warmup": 1.5, "accumulate": 2, "clip": 1.0, "weight_decay": 1e-4,
    "milestones": (0.4, 0.8), "swahr": True, "color": 0.5, "paste": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Entries and weights of runs without interruption, which several tests compare with."""
    return {}


@pytest.mark.parametrize(
    ("stop", "settings"),
    [
        (2, ALL_FEATURES),  # in the second epoch, because a step has two batches
        pytest.param(3, {}, marks=pytest.mark.slow),  # at the end of an epoch
        pytest.param(1, {}, marks=pytest.mark.slow),
        pytest.param(3, ALL_FEATURES, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    stop: int, settings: dict[str, Any], make_config: MakeConfig, uninterrupted: dict[str, Any]
) -> None:
    config = make_config(**settings)
    key = str(settings)
    if key not in uninterrupted:
        reference = with_out(config, "uninterrupted")
        assert run_training(with_steps(reference, 6, total=6))
        weights = load_file(reference.run.out / "last.safetensors")
        uninterrupted[key] = entries(reference), weights
    expected_entries, expected_weights = uninterrupted[key]
    assert run_training(with_steps(config, stop, total=6))
    assert len(entries(config)) == stop
    assert run_training(resume(with_steps(config, 6, total=6)))
    assert steps(config) == [1, 2, 3, 4, 5, 6]
    # Equal to the bit: the same process repeats the same operations with one thread, and PyTorch
    # aligns the memory of all tensors equally.
    assert entries(config) == expected_entries
    weights = load_file(config.run.out / "last.safetensors")
    assert weights.keys() == expected_weights.keys()
    assert all(torch.equal(tensor, expected_weights[name]) for name, tensor in weights.items())


@pytest.mark.slow
def test_steps_after_the_last_checkpoint_are_repeated(make_config: MakeConfig) -> None:
    config = make_config()
    folder = config.run.out
    run_training(with_steps(config, 2, total=4))
    shutil.copy(folder / "last.pt", folder / "earlier.pt")
    run_training(resume(with_steps(config, 4, total=4)))
    expected = entries(config)
    (folder / "earlier.pt").replace(folder / "last.pt")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "epoch": 1.6667, "los')  # killed while writing
    run_training(resume(with_steps(config, 4, total=4)))
    assert entries(config) == expected
    assert steps(config) == [1, 2, 3, 4]


def test_a_folder_without_a_run_is_reported_when_resuming(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = resume(with_steps(make_config(), 1, total=1))
    assert run_training(config)
    assert f"{config.run.out} contains no run to resume; starting a new one\n" in (
        capsys.readouterr().err
    )
    assert steps(config) == [1]


def test_a_run_is_not_overwritten(make_config: MakeConfig) -> None:
    config = with_steps(make_config(), 1, total=1)
    run_training(config)
    with pytest.raises(InputError, match=r"run contains a run: .* --resume, or use another --out$"):
        run_training(config)
    wider = replace(config, model=replace(config.model, width=6))
    with pytest.raises(InputError, match=r"run: .* \(--model.width is 6, was 4\); .* --out$"):
        run_training(resume(wider))
    (config.run.out / "last.pt").write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(InputError, match=r"last.pt: cannot be read \(.*\); move it .*$") as error:
        run_training(resume(config))
    assert "\n" not in error.value.args[0]


@pytest.fixture(scope="module")
def first_epoch(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that ended after the first of two epochs, with a validation."""
    out = tmp_path_factory.mktemp("first_epoch") / "run"
    config = small_config(scenes, out, val=str(scenes), eval_every=1)
    assert run_training(with_steps(config, BATCHES, total=2 * BATCHES))
    return out


@pytest.fixture
def validated(make_config: MakeConfig, scenes: Path, first_epoch: Path) -> TrainConfig:
    """A copy of the run that ended after the first of two epochs."""
    config = make_config(val=str(scenes), eval_every=1)
    shutil.copytree(first_epoch, config.run.out)
    return config


def test_resuming_a_finished_run_changes_nothing(validated: TrainConfig) -> None:
    metrics = validated.run.out / "metrics.jsonl"
    before = metrics.read_text()
    assert run_training(resume(with_steps(validated, BATCHES, total=2 * BATCHES)))
    assert metrics.read_text() == before


@pytest.mark.slow
def test_a_resumed_run_keeps_the_best_network_so_far(validated: TrainConfig) -> None:
    best, metrics = (validated.run.out / name for name in ("best.safetensors", "metrics.jsonl"))
    before, (validation,) = best.read_bytes(), entries(validated, "AP")
    metrics.write_text(metrics.read_text().replace(f'"AP": {validation["AP"]}', '"AP": 0.9', 1))
    assert run_training(resume(with_steps(validated, 2 * BATCHES, total=2 * BATCHES)))
    assert steps(validated, "AP") == [BATCHES, 2 * BATCHES]
    assert best.read_bytes() == before


@pytest.mark.slow
def test_an_interrupted_validation_is_repeated_first(validated: TrainConfig) -> None:
    metrics = validated.run.out / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(line for line in lines if '"AP"' not in line))
    run_training(resume(with_steps(validated, 2 * BATCHES, total=2 * BATCHES)))
    assert steps(validated, "AP") == [BATCHES, 2 * BATCHES]


@pytest.mark.slow
def test_a_resumed_run_uses_and_reports_a_changed_weight_decay(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config()
    run_training(with_steps(config, 1, total=2))
    decayed = replace(config, optim=replace(config.optim, weight_decay=0.1))
    run_training(resume(with_steps(decayed, 2, total=2)))
    state = torch.load(config.run.out / "last.pt", weights_only=True)
    assert [group["weight_decay"] for group in state["optimizer"]["param_groups"]] == [0.1]
    assert "--weight-decay is 0.1, was 0.0" in capsys.readouterr().err


@pytest.mark.slow
def test_settings_of_files_and_hardware_change_without_a_message(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = with_steps(make_config(), 1, total=1)
    run_training(config)
    capsys.readouterr()
    changed = replace(config, data=replace(config.data, workers=1))
    changed = replace(changed, run=replace(config.run, preview_images=3))
    run_training(resume(changed))
    assert "changed settings" not in capsys.readouterr().err


@pytest.mark.slow
def test_with_another_batch_size_a_run_is_resumed_at_the_same_epoch(
    make_config: MakeConfig,
) -> None:
    config = make_config(epochs=2)
    run_training(with_steps(config, BATCHES, total=2 * BATCHES))
    smaller = replace(config, optim=replace(config.optim, batch_size=2, epochs=2))
    assert run_training(resume(smaller))
    epochs = [entry["epoch"] for entry in entries(config)]
    assert epochs == pytest.approx([1 / 3, 2 / 3, 1, 1.2, 1.4, 1.6, 1.8, 2], abs=1e-4)


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A finished run of two epochs, with a validation after each."""
    config = small_config(
        scenes,
        tmp_path_factory.mktemp("finished") / "run",
        val=str(scenes),
        epochs=2,
        eval_every=1,
        preview_images=2,
        ema=0.5,
        seed=3,
    )
    assert run_training(config)
    return config


def test_the_folder_contains_the_documented_files(finished: TrainConfig) -> None:
    folder = finished.run.out
    assert run_folder.__doc__
    documented = [line.split()[0] for line in run_folder.__doc__.split("\n\n")[1].splitlines()]
    names = [path.name + "/" * path.is_dir() for path in folder.iterdir()]
    assert all(sum(fnmatch(name, pattern) for name in names) == 1 for pattern in documented)
    assert len(names) == len(documented) == 8

    saved = json.loads((folder / "config.json").read_text())
    assert saved["data"]["train"] == list(finished.data.train) and saved["model"]["width"] == 4

    assert steps(finished) == [1, 2, 3, 4, 5, 6]
    epochs = [step / BATCHES for step in range(1, 7)]
    assert [entry["epoch"] for entry in entries(finished)] == pytest.approx(epochs, abs=1e-4)
    terms = ("heatmap_4", "heatmap_2", "pull", "push")
    for entry in entries(finished):
        assert entry["loss"] == pytest.approx(sum(entry[term] for term in terms))
    validations = entries(finished, "AP")
    assert [(entry["step"], entry["epoch"]) for entry in validations] == [(3, 1), (6, 2)]
    tensorboard = event_accumulator.EventAccumulator(str(folder)).Reload()
    assert [event.step for event in tensorboard.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in tensorboard.Scalars("AP")] == [3, 6]

    previews = sorted((folder / "previews").iterdir())
    assert [path.name for path in previews] == ["epoch-00001.0.jpg", "epoch-00002.0.jpg"]
    for path in previews:
        with Pillow.open(path) as image:
            assert image.size == (4 * 240, 2 * 248)
    assert all(len(points) > 100 for points in curve_pixels(folder / "curves.png"))


def test_the_header_describes_the_training(finished: TrainConfig, scenes: Path) -> None:
    for name, epochs in (("best", 1.0), ("last", 2.0)):
        path = finished.run.out / f"{name}.safetensors"
        predictor = Predictor.load(path, engine="torch", threads=1)
        header, training = predictor.header, predictor.header.training
        assert training["data"] == [str(scenes)] and training["images"] == NUM_SCENES
        assert training["initialized_from"] == "random weights" and training["batch_size"] == 4
        assert training["epochs"] in (epochs, 2.0)  # the best network may be the last
        assert training["steps"] == training["epochs"] * BATCHES
        assert header.input == finished.input and header.inference == finished.inference
        assert predictor(scenes.parent / "images" / "000000000001.png").skeleton == COCO
    best = checkpoint.load(finished.run.out / "best.safetensors")[1].training["AP"]
    assert best == round(max(entry["AP"] for entry in entries(finished, "AP")), 4)


def test_the_averaged_weights_are_saved(finished: TrainConfig) -> None:
    state = torch.load(finished.run.out / "last.pt", weights_only=True)
    saved = load_file(finished.run.out / "last.safetensors")
    assert all(torch.equal(saved[name], state["average"][name]) for name in saved)
    trained = state["tag_learner"]["network.conv1.weight"]
    assert not torch.equal(saved["conv1.weight"], trained)


@pytest.mark.parametrize("ema", [pytest.param(None, marks=pytest.mark.slow), 0.5])
def test_a_training_with_swahr_continues_with_the_scale_heads_of_a_file(
    make_config: MakeConfig, ema: float | None
) -> None:
    first = make_config(swahr=True, ema=ema)
    assert run_training(first)
    assert entries(first)[0]["scale_4"] == 0  # of new scale heads
    path = first.run.out / "last.safetensors"
    _, header = checkpoint.load(path)
    assert header.model.scale_maps and load_file(path)["conv_scale_layers.1.3.weight"].any()
    second = with_out(make_config(swahr=True, init=str(path)), "second")
    assert run_training(second)
    assert entries(second)[0]["scale_4"] > 0 and entries(second)[0]["scale_2"] > 0
    without = with_steps(with_out(make_config(init=str(path)), "without"), 1, total=1)
    assert run_training(without)
    assert not [name for name in load_file(without.run.out / "last.safetensors") if "scale" in name]


def test_without_validation_data_there_is_no_best_network(make_config: MakeConfig) -> None:
    config = with_steps(make_config(preview_images=2), 2, total=2)
    assert run_training(config)
    assert not entries(config, "AP")
    assert not (config.run.out / "best.safetensors").exists()
    losses, ap = curve_pixels(config.run.out / "curves.png")
    assert len(losses) > 100 and len(ap) == 0


def test_a_run_ends_after_max_hours(make_config: MakeConfig) -> None:
    config = make_config(max_hours=1e-9, epochs=100)
    assert run_training(config)
    assert steps(config) == [1]


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_images(
    make_config: MakeConfig,
) -> None:
    config = make_config(lr=1e30, epochs=5)
    pattern = r"step (\d+) is not finite \(images (.*)\); lower --lr .* --resume"
    with pytest.raises(InputError, match=pattern) as error:
        run_training(config)
    match = re.search(pattern, str(error.value))
    assert match and int(match[1]) == len(entries(config)) + 1
    names = match[2].split(", ")
    assert len(names) == 4 and all(name.endswith(".png") for name in names)


def start_process(config: TrainConfig) -> subprocess.Popen[str]:
    """A training in a process of its own, which has made at least two steps."""
    process = subprocess.Popen(
        [sys.executable, "-m", "higherhrnet", *command_line(config)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_steps(process, config, 2)
    return process


def wait_for_steps(process: subprocess.Popen[str], config: TrainConfig, count: int) -> None:
    metrics = config.run.out / "metrics.jsonl"
    while process.poll() is None:
        if metrics.is_file() and metrics.read_text().count("\n") >= count:
            return
        time.sleep(0.01)


LONG = {"epochs": 10, "lr": 1e-6}
"""The learning rate is low, because Adam amplifies differences of rounding between processes: at
1e-3, kernels for AVX2 and AVX-512 give losses that differ by 10 % after 13 steps, at 1e-6 by
0.005 %. The losses of different batches differ by 40 %."""
NUM_LONG_STEPS = 30


def assert_equals_uninterrupted(config: TrainConfig, uninterrupted: dict[str, Any]) -> None:
    if "long" not in uninterrupted:
        reference = with_out(config, "uninterrupted")
        run_training(reference)
        uninterrupted["long"] = entries(reference)
    expected = uninterrupted["long"]
    assert len(expected) == NUM_LONG_STEPS
    for entry, same in zip(entries(config), expected, strict=True):
        assert entry == pytest.approx(same, rel=1e-3, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_receives_a_signal_saves_and_can_be_resumed(
    number: signal.Signals, make_config: MakeConfig, uninterrupted: dict[str, Any]
) -> None:
    config = make_config(**LONG)
    process = start_process(config)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert f"stopped, and saved in {config.run.out}" in stderr and "Traceback" not in stderr
    state = torch.load(config.run.out / "last.pt", weights_only=True)
    assert 2 <= state["step"] == len(entries(config)) < NUM_LONG_STEPS
    assert run_training(resume(config))
    assert_equals_uninterrupted(config, uninterrupted)


@pytest.mark.slow
def test_a_killed_run_is_resumed_from_the_last_checkpoint(
    make_config: MakeConfig, uninterrupted: dict[str, Any]
) -> None:
    config = make_config(**LONG)
    process = start_process(replace(config, run=replace(config.run, save_minutes=0.005)))
    last = config.run.out / "last.pt"
    while process.poll() is None and not last.is_file():
        time.sleep(0.01)
    wait_for_steps(process, config, len(entries(config)) + 3)
    process.kill()
    process.communicate()
    state = torch.load(last, weights_only=True)
    assert 1 <= state["step"] <= len(entries(config))
    assert run_training(resume(config))
    assert_equals_uninterrupted(config, uninterrupted)


@pytest.mark.slow
def test_the_message_about_memory_names_the_settings_to_lower(make_config: MakeConfig) -> None:
    if sys.platform != "linux":
        pytest.skip("limits the address space")
    import resource

    config = make_config(size=3072)

    def work() -> str:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        limit = resource.getpagesize() * pages + 2**29  # half a gigabyte more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            run_training(config)
        except InputError as error:
            return str(error)
        return "finished"

    (message,) = run_in_processes([work])
    assert message.startswith("out of memory: lower --batch-size, now 4 ")
    assert message.endswith("--input.size, now 3072")


@pytest.mark.slow
def test_the_baseline_without_transposed_convolutions_is_trained_and_predicts(
    scenes: Path, tmp_path: Path, run_main: RunMain
) -> None:
    """The HRNet baseline of the paper: heatmaps and tags at stride 4 only."""
    result = run_main(
        "train", "coco-w32-512", "--train", scenes, "--val", scenes, "--out", tmp_path / "run",
        "--model.width", 4, "--model.modules", 1, 1, 1, "--model.blocks", 1,
        "--model.deconv-kernels", "--losses.heatmap", 1, "--input.size", 64, "--epochs", 1,
        "--batch-size", 4, "--workers", 0, "--precision", "f32", "--preview-images", 0,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    network, header = checkpoint.load(tmp_path / "run" / "best.safetensors")
    (maps,) = network(torch.zeros(1, 3, 64, 96))
    assert header.model.strides == (4,) and maps.shape == (1, 34, 16, 24)
    predictor = Predictor.load(tmp_path / "run" / "best.safetensors", engine="torch")
    poses = predictor(sorted((scenes.parent / "images").iterdir())[0])
    assert poses.keypoints.shape[1:] == (17, 2)
    losses = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert {"heatmap_4", "pull", "push"} <= losses[0].keys() and "heatmap_2" not in losses[0]
