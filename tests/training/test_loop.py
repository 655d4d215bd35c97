"""Whole trainings: what a run leaves behind, and that stopping it anywhere changes nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from tensorboard.backend.event_processing import event_accumulator  # noqa: E402

from higherhrnet.cli.main import main  # noqa: E402
from higherhrnet.errors import InputError  # noqa: E402
from higherhrnet.inference.predictor import Predictor  # noqa: E402
from higherhrnet.network import checkpoint  # noqa: E402
from higherhrnet.recipes import TrainConfig  # noqa: E402
from higherhrnet.skeleton import COCO  # noqa: E402
from higherhrnet.training import run_folder as record  # noqa: E402
from higherhrnet.training.loop import run_training  # noqa: E402
from tests.training.conftest import COUNT, Small, flags  # noqa: E402

BATCHES = 3
"""An epoch of the drawn scenes."""


def lines(config: TrainConfig, kind: str = "loss") -> list[dict[str, Any]]:
    """Steps' lines, or measurements', but for what the clock says."""
    text = (config.run.out / "metrics.jsonl").read_text()
    found = [line for line in map(json.loads, text.splitlines()) if kind in line]
    return [{name: line[name] for name in line if name != "images_per_second"} for line in found]


def resumed(config: TrainConfig) -> TrainConfig:
    return replace(config, run=replace(config.run, resume=True))


def elsewhere(config: TrainConfig, name: str) -> TrainConfig:
    return replace(config, run=replace(config.run, out=config.run.out.with_name(name)))


def of_steps(config: TrainConfig, steps: int, of: int) -> TrainConfig:
    """The first steps of a training of so many, with the same course of the learning rate."""
    optim = config.optim
    epochs = steps * optim.accumulate / BATCHES
    milestones = tuple(milestone * of / steps for milestone in optim.milestones)
    return replace(config, optim=replace(optim, epochs=epochs, milestones=milestones))


EVERYTHING = {
    "ema": 0.9, "warmup": 1.5, "accumulate": 2, "clip": 1.0, "weight_decay": 1e-4,
    "milestones": (0.4, 0.8), "swahr": True, "colour": 0.5, "paste": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("stop", "settings"),
    [
        (3, {}),  # at an epoch's end
        (2, EVERYTHING),  # in the second epoch, since a step has two batches
        pytest.param(1, {}, marks=pytest.mark.slow),
        pytest.param(3, EVERYTHING, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_and_resumed_training_is_the_same(
    stop: int, settings: dict[str, Any], small: Small
) -> None:
    config = small(**settings)
    straight, broken = (elsewhere(config, name) for name in ("straight", "broken"))
    assert run_training(of_steps(straight, 6, of=6))
    assert run_training(of_steps(broken, stop, of=6))
    assert len(lines(broken)) == stop
    assert run_training(resumed(of_steps(broken, 6, of=6)))
    assert [line["step"] for line in lines(straight)] == [1, 2, 3, 4, 5, 6]
    assert lines(broken) == lines(straight)
    saved, other = (load_file(c.run.out / "last.safetensors") for c in (straight, broken))
    assert all(torch.equal(tensor, other[name]) for name, tensor in saved.items())


def test_what_was_done_after_the_last_save_is_done_again(small: Small) -> None:
    config = small()
    folder = config.run.out
    run_training(of_steps(config, 2, of=4))
    shutil.copy(folder / "last.pt", folder / "before.pt")
    run_training(resumed(of_steps(config, 4, of=4)))
    wanted = lines(config)
    (folder / "before.pt").replace(folder / "last.pt")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "epoch": 1.6667, "los')  # killed while it wrote
    run_training(resumed(of_steps(config, 4, of=4)))
    assert lines(config) == wanted
    assert [line["step"] for line in wanted] == [1, 2, 3, 4]


def test_a_run_is_not_overwritten(small: Small) -> None:
    config = of_steps(small(), 1, of=1)
    run_training(config)
    with pytest.raises(InputError, match=r"^.*run holds a run: --resume .* or take another --out$"):
        run_training(config)
    wider = replace(config, model=replace(config.model, width=6))
    with pytest.raises(InputError, match=r"run: .* \(--model.width is 6, was 4\); .* --out$"):
        run_training(resumed(wider))
    (config.run.out / "last.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match=r"last.pt: cannot be read \(.*\); move it away .*$") as e:
        run_training(resumed(config))
    assert "\n" not in str(e.value)


def test_a_finished_run_has_nothing_to_resume(small: Small, scenes: Path) -> None:
    config = of_steps(small(val=str(scenes)), 1, of=1)
    run_training(config)
    before = (config.run.out / "metrics.jsonl").read_text()
    assert run_training(resumed(config))
    assert (config.run.out / "metrics.jsonl").read_text() == before


def test_a_resumed_run_knows_what_was_best(small: Small, scenes: Path) -> None:
    config = small(val=str(scenes), eval_every=1)
    assert run_training(of_steps(config, BATCHES, of=2 * BATCHES))
    best, metrics = (config.run.out / name for name in ("best.safetensors", "metrics.jsonl"))
    before, (measured,) = best.read_bytes(), lines(config, "AP")
    metrics.write_text(metrics.read_text().replace(f'"AP": {measured["AP"]}', '"AP": 0.9', 1))
    assert run_training(resumed(of_steps(config, 2 * BATCHES, of=2 * BATCHES)))
    assert [line["step"] for line in lines(config, "AP")] == [BATCHES, 2 * BATCHES]
    assert best.read_bytes() == before


def test_a_measurement_that_was_cut_off_is_made_first(small: Small, scenes: Path) -> None:
    config = small(val=str(scenes), eval_every=1)
    run_training(of_steps(config, BATCHES, of=2 * BATCHES))
    metrics = config.run.out / "metrics.jsonl"
    whole = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(line for line in whole if '"AP"' not in line))
    run_training(resumed(of_steps(config, 2 * BATCHES, of=2 * BATCHES)))
    assert [line["step"] for line in lines(config, "AP")] == [BATCHES, 2 * BATCHES]


def test_another_weight_decay_is_taken_on_and_said(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small()
    run_training(of_steps(config, 1, of=2))
    decayed = replace(config, optim=replace(config.optim, weight_decay=0.1))
    run_training(resumed(of_steps(decayed, 2, of=2)))
    state = torch.load(config.run.out / "last.pt", weights_only=True)
    assert [group["weight_decay"] for group in state["optimiser"]["param_groups"]] == [0.1]
    assert "--weight-decay is 0.1, was 0.0" in capsys.readouterr().err


def test_with_another_batch_size_the_epochs_go_on(small: Small) -> None:
    config = small(epochs=2)
    run_training(of_steps(config, BATCHES, of=2 * BATCHES))
    assert run_training(
        resumed(replace(config, optim=replace(config.optim, batch_size=2, epochs=2)))
    )
    epochs = [line["epoch"] for line in lines(config)]
    assert epochs == pytest.approx([1 / 3, 2 / 3, 1, 1.2, 1.4, 1.6, 1.8, 2], abs=1e-4)


def test_the_folder_holds_what_is_promised(small: Small, scenes: Path) -> None:
    config = small(val=str(scenes), epochs=2, eval_every=1, pictures=2, flip=0.5)
    assert run_training(config)
    folder = config.run.out
    assert record.__doc__
    promised = [line.split()[0] for line in record.__doc__.split("\n\n")[1].splitlines()]
    found = [path.name + "/" * path.is_dir() for path in folder.iterdir()]
    assert all(sum(fnmatch(name, pattern) for name in found) == 1 for pattern in promised)
    assert len(found) == len(promised) == 8

    said = json.loads((folder / "config.json").read_text())
    assert said["data"]["train"] == [str(scenes)] and said["model"]["width"] == 4

    steps, measured = lines(config), lines(config, "AP")
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    epochs = [step / BATCHES for step in range(1, 7)]
    assert [line["epoch"] for line in steps] == pytest.approx(epochs, abs=1e-4)
    terms = ("heatmap_4", "heatmap_2", "pull", "push")
    assert all(line["loss"] == pytest.approx(sum(line[t] for t in terms)) for line in steps)
    assert [(line["step"], line["epoch"]) for line in measured] == [(3, 1), (6, 2)]
    board = event_accumulator.EventAccumulator(str(folder)).Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in board.Scalars("AP")] == [3, 6]

    sheets = sorted((folder / "pictures").iterdir())
    assert [sheet.name for sheet in sheets] == ["epoch-00001.0.jpg", "epoch-00002.0.jpg"]
    for picture in (folder / "curves.png", *sheets):
        with Pillow.open(picture) as opened:
            assert np.ptp(np.asarray(opened)) > 100


def test_weights_say_how_they_came_to_be(small: Small, scenes: Path) -> None:
    config = small(val=str(scenes), epochs=2, eval_every=1, ema=0.9, seed=3)
    run_training(config)
    for name, epochs in (("best", 1.0), ("last", 2.0)):
        path = config.run.out / f"{name}.safetensors"
        predictor = Predictor.load(path, engine="torch", threads=1)
        facts = predictor.header.training
        assert facts["data"] == [str(scenes)] and facts["photographs"] == COUNT
        assert facts["start"] == "from nothing" and facts["batch"] == 4
        assert facts["epochs"] in (epochs, 2.0)  # the best may be the last
        assert facts["steps"] == facts["epochs"] * BATCHES
        assert (
            predictor.header.input == config.input
            and predictor.header.inference == config.inference
        )
        assert predictor(scenes.parent / "images" / "000000000001.png").skeleton == COCO
    best = checkpoint.load(config.run.out / "best.safetensors")[1].training["AP"]
    assert best == round(max(line["AP"] for line in lines(config, "AP")), 4)


def test_the_average_is_what_is_kept(small: Small) -> None:
    config = small(ema=0.5)
    run_training(of_steps(config, 3, of=3))
    state = torch.load(config.run.out / "last.pt", weights_only=True)
    kept = load_file(config.run.out / "last.safetensors")
    assert all(torch.equal(kept[name], state["average"][name]) for name in kept)
    learnt = state["learner"]["network.conv1.weight"]
    assert not torch.equal(kept["conv1.weight"], learnt)


def test_without_a_validation_set_no_network_is_the_best(small: Small) -> None:
    config = of_steps(small(pictures=2), 1, of=1)
    assert run_training(config)
    assert not lines(config, "AP")
    assert not (config.run.out / "best.safetensors").exists()
    assert (config.run.out / "curves.png").is_file()


def test_hours_decide_when_they_are_given(small: Small) -> None:
    config = small(max_hours=0.001, schedule="linear", epochs=1 / BATCHES)
    assert run_training(config)
    rates = [line["lr"] for line in lines(config)]
    assert len(rates) > 1 and rates[0] == config.optim.lr
    assert all(after <= before for before, after in pairwise(rates))
    assert rates[-1] < 0.7 * rates[0]


@pytest.fixture
def unstopped() -> Iterator[None]:
    """`main` listens to SIGTERM in its own way; the tests' way is given back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("unstopped")
def test_a_loss_that_is_no_number_ends_it_and_names_the_batch(
    small: Small, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small(lr=1e30, epochs=5)
    with pytest.raises(SystemExit) as ended:
        main(flags(config))
    assert ended.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "no number" in line]
    step = int(line.split("the loss of step ")[1].split()[0])
    assert step == len(lines(config)) + 1
    named = line.split("in the batch of ")[1].split(";")[0].split(", ")
    assert len(named) == 4 and all(name.endswith(".png") for name in named)
    assert "--lr" in line and "--resume" in line


def started(config: TrainConfig) -> subprocess.Popen[str]:
    """A real process; it has made some steps."""
    process = subprocess.Popen(
        [sys.executable, "-m", "higherhrnet", *flags(config)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = config.run.out / "metrics.jsonl"
    while process.poll() is None and not (metrics.is_file() and len(lines(config)) >= 2):
        time.sleep(0.02)
    return process


LONG = {"epochs": 10}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """Where the test that first needs it keeps the steps of the long training."""
    return {}


def assert_undisturbed(config: TrainConfig, known: dict[str, Any]) -> None:
    if not known:
        straight = elsewhere(config, "straight")
        run_training(straight)
        known["lines"] = lines(straight)
    assert len(known["lines"]) == 30
    assert lines(config) == known["lines"]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_told_to_stop_it_saves_first(
    number: signal.Signals, small: Small, undisturbed: dict[str, Any]
) -> None:
    config = small(**LONG)
    process = started(config)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert f"saved: {config.run.out}" in said and "Traceback" not in said
    done = len(lines(config))
    state = torch.load(config.run.out / "last.pt", weights_only=True)
    assert 2 <= state["step"] == done < 30
    assert run_training(resumed(config))
    assert_undisturbed(config, undisturbed)


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_from_the_last_save(
    small: Small, undisturbed: dict[str, Any]
) -> None:
    config = small(**LONG)
    process = started(replace(config, run=replace(config.run, save_minutes=0.005)))
    last = config.run.out / "last.pt"
    while process.poll() is None and not last.is_file():
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.5))
    process.kill()
    process.communicate()
    state = torch.load(last, weights_only=True)
    assert 1 <= state["step"] <= len(lines(config))
    assert run_training(resumed(config))
    assert_undisturbed(config, undisturbed)


LIMITED = """
import resource, sys
import torch
from higherhrnet.cli.main import main
from higherhrnet.training import loop as train
size = resource.getpagesize() * int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, size + 2**29))
main(sys.argv[1:])
"""
"""Python that has half a gigabyte left."""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits an address space")
def test_out_of_memory_says_what_to_lower(small: Small) -> None:
    config = small(size=3072)
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, *flags(config)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("higherhrnet: out of memory: lower --batch-size, now 4")
    assert line.endswith("--input.size, now 3072")
