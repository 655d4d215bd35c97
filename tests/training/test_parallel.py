"""Two real processes against one: gradients, measurements, files, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from higherhrnet.arrays import FloatArray  # noqa: E402
from higherhrnet.config import ModelConfig  # noqa: E402
from higherhrnet.data.dataset import load_dataset  # noqa: E402
from higherhrnet.errors import InputError  # noqa: E402
from higherhrnet.inference.predictor import Predictor  # noqa: E402
from higherhrnet.io.coco import load_annotations  # noqa: E402
from higherhrnet.network import checkpoint  # noqa: E402
from higherhrnet.recipes import TrainConfig  # noqa: E402
from higherhrnet.training.loop import TrainingLoop  # noqa: E402
from higherhrnet.training.parallel import ProcessGroup  # noqa: E402
from higherhrnet.training.state import TrainState  # noqa: E402
from higherhrnet.training.validate import Validator  # noqa: E402
from tests.training.conftest import Small, flags  # noqa: E402
from tests.training.two import by_two  # noqa: E402

ALONE = ProcessGroup(torch.device("cpu"))


def test_what_the_processes_agree_on() -> None:
    def work(world: ProcessGroup) -> list[Any]:
        shared = torch.full((2,), float(world.rank + 1))
        mean = world.mean(shared)
        world.share([shared])
        values = world.most(world.rank, -world.rank, 0.5)
        return [mean.tolist(), shared.tolist(), values, world.gather([world.rank] * 2), world.first]

    first, second = by_two(work)
    assert first == [[1.5, 1.5], [1, 1], [1, 0, 0.5], [0, 0, 1, 1], True]
    assert second == [[1.5, 1.5], [1, 1], [1, 0, 0.5], [], False]


def test_alone_there_is_nothing_to_agree_on() -> None:
    values = torch.tensor([1.0, 2.0])
    assert ALONE.mean(values).tolist() == [1, 2] and ALONE.most(3, -1) == [3, -1]
    assert ALONE.gather([1, 2]) == [1, 2] and ALONE.first


def gradients(config: TrainConfig, world: ProcessGroup) -> tuple[dict[str, FloatArray], list[str]]:
    """Of one step's batches, without batch norm's statistics, which are each process's own."""
    trainer = TrainState(config, load_dataset(config.data), world)
    trainer.learner.eval()
    with closing(trainer.batches()) as batches:
        _, names = trainer.learn(batches)
    found = {name: p.grad for name, p in trainer.learner.named_parameters() if p.grad is not None}
    assert len(found) == len(list(trainer.learner.parameters()))
    return {name: gradient.numpy() for name, gradient in found.items()}, names


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2, "swahr": True}])
def test_two_processes_have_the_gradients_of_one_with_the_whole_batch(
    settings: dict[str, Any], small: Small
) -> None:
    config = small(initialization="kaiming", batch_size=4, **settings)
    half = replace(config, optim=replace(config.optim, batch_size=2))
    (mine, some), (theirs, others) = by_two(lambda world: gradients(half, world))
    wanted, names = gradients(config, ALONE)
    assert Counter(some + others) == Counter(names)
    assert wanted.keys() == mine.keys() == theirs.keys()
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    for name, gradient in wanted.items():
        np.testing.assert_array_equal(mine[name], theirs[name])
        np.testing.assert_allclose(mine[name], gradient, rtol=1e-3, atol=1e-6 * largest)


def test_a_loss_that_is_no_number_in_one_process_ends_both(small: Small) -> None:
    config = small(epochs=2)

    def work(world: ProcessGroup) -> str:
        trainer = TrainState(config, load_dataset(config.data), world)
        if world.rank == 1:
            nn.init.constant_(trainer.network.final_layers[0].bias, float("nan"))  # type: ignore[arg-type]
        try:
            TrainingLoop(trainer, None).complete()
        except InputError as error:
            return str(error)
        return "came to its end"

    first, second = by_two(work)
    assert first.startswith("the loss of step 1 is no number, in another process")
    assert second.startswith("the loss of step 1 is no number, in the batch of 0")


@pytest.fixture(scope="session")
def found(settled: Path, scenes: Path) -> Path:
    """The scenes, annotated with people whom that network finds, or with some of them moved."""
    predictor, rng = Predictor.load(settled, engine="torch", threads=1), np.random.default_rng(0)
    content = json.loads(scenes.read_text())
    content["annotations"] = []
    for image in content["images"]:
        poses = predictor(scenes.parent / "images" / image["file_name"])
        poses = poses[np.argsort(-poses.scores)[:4]]
        for number, person in enumerate(poses.to_coco(image["id"])):
            triples = np.reshape(person["keypoints"], (-1, 3))
            triples[:, :2] += rng.normal(0, 3 * (number % 2), triples[:, :2].shape)
            triples[:, 2] = 2
            x, y, width, height = person["bbox"]
            content["annotations"].append(
                {**person, "id": len(content["annotations"]) + 1, "iscrowd": 0,
                 "keypoints": triples.ravel().tolist(), "num_keypoints": 17,
                 "area": width * height, "bbox": [x, y, width, height]}
            )  # fmt: skip
    path = scenes.with_name("found.json")
    path.write_text(json.dumps(content))
    return path


def test_shares_of_a_set_make_the_figures_of_the_whole(settled: Path, found: Path) -> None:
    network, header = checkpoint.load(settled)

    def work(world: ProcessGroup) -> dict[str, float]:
        validation = Validator(load_annotations(found), found.parent / "images", world)
        return validation.measure(network, header)

    first, second = by_two(work)
    assert second == {}
    assert first == work(ALONE)
    assert 0.2 < first["AP"] < 0.9


STILL = ["--augment.rotation", "0", "--augment.scale", "1", "1", "--augment.translation", "0",
         "--augment.flip", "0"]  # fmt: skip


@pytest.fixture
def torchrun() -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(config: TrainConfig, *more: str) -> subprocess.Popen[str]:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [sys.executable, "-m", *launcher, "-m", "higherhrnet", *flags(config), *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=environment, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def steps(config: TrainConfig) -> list[dict[str, Any]]:
    text = (config.run.out / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_torchrun_trains_measures_and_writes_once(
    small: Small, settled: Path, found: Path, torchrun: Any  # noqa: ANN401
) -> None:  # fmt: skip
    model = vars(ModelConfig(4))
    config = small(**model, init=str(settled), lr=1e-9, val=str(found), epochs=2, pictures=1)
    config = replace(config, optim=replace(config.optim, batch_size=5))
    process = torchrun(config, *STILL, "--eval-every", "1")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    written = steps(config)
    assert [line["step"] for line in written if "loss" in line] == [1, 2]
    measured = [line for line in written if "AP" in line]
    assert [line["step"] for line in measured] == [1, 2]
    names = [path.name for path in config.run.out.iterdir() if not path.name.startswith("events.")]
    assert sorted(names) == [
        "best.safetensors", "config.json", "curves.png", "last.pt", "last.safetensors",
        "metrics.jsonl", "pictures",
    ]  # fmt: skip
    assert len(list(config.run.out.glob("events.*"))) == 1
    assert len(list((config.run.out / "pictures").iterdir())) == 2

    network, header = checkpoint.load(config.run.out / "last.safetensors")
    assert header.training["batch"] == 10
    validation = Validator(load_annotations(found), found.parent / "images", ALONE)
    figures = validation.measure(network, header)
    assert 0.01 < figures["AP"] < 0.99
    assert {name: measured[-1][name] for name in figures} == pytest.approx(figures, abs=1e-9)


@pytest.mark.slow
def test_torchrun_told_to_stop_saves_and_goes_on(small: Small, torchrun: Any) -> None:  # noqa: ANN401
    config = small(batch_size=2, epochs=1000)
    process = torchrun(config)
    metrics = config.run.out / "metrics.jsonl"
    while process.poll() is None and not (metrics.is_file() and len(steps(config)) > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0, said
    state = torch.load(config.run.out / "last.pt", weights_only=True)
    assert state["step"] == len(steps(config)) > 2
    going_on = replace(config, run=replace(config.run, resume=True))
    going_on = replace(going_on, optim=replace(config.optim, epochs=(state["step"] + 2) / 3))
    process = torchrun(going_on)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert [line["step"] for line in steps(config)] == list(range(1, state["step"] + 3))
