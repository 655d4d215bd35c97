"""Training in two processes, compared with one: gradients, metrics, files and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from higherhrnet.arrays import FloatArray
from higherhrnet.config.training import TrainConfig
from higherhrnet.data.dataset import load_dataset
from higherhrnet.errors import InputError
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.training.loop import TrainingLoop
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.training.state import TrainState
from higherhrnet.training.validate import Validator
from tests.training.conftest import MakeConfig, command_line
from tests.training.processes import run_in_two_processes

ALONE = ProcessGroup(torch.device("cpu"))
Torchrun = Callable[..., "subprocess.Popen[str]"]


def test_two_processes_exchange_values() -> None:
    def work(group: ProcessGroup) -> list[Any]:
        tensor = torch.full((2,), float(group.rank + 1))
        mean = group.mean(tensor)
        group.broadcast([tensor])
        maximum = group.maximum(group.rank, -group.rank, 0.5)
        gathered = group.gather([group.rank] * 2)
        return [mean.tolist(), tensor.tolist(), maximum, gathered, group.is_main]

    main, other = run_in_two_processes(work)
    assert main == [[1.5, 1.5], [1, 1], [1, 0, 0.5], [0, 0, 1, 1], True]
    assert other == [[1.5, 1.5], [1, 1], [1, 0, 0.5], [], False]


def test_a_single_process_returns_its_own_values() -> None:
    values = torch.tensor([1.0, 2.0])
    assert ALONE.mean(values).tolist() == [1, 2] and ALONE.maximum(3, -1) == [3, -1]
    assert ALONE.gather([1, 2]) == [1, 2] and ALONE.is_main


def gradients(config: TrainConfig, group: ProcessGroup) -> tuple[dict[str, FloatArray], list[str]]:
    """The gradients of one step, in evaluation mode: batch statistics differ by process."""
    state = TrainState(config, load_dataset(config.data), group)
    state.learner.eval()
    with closing(state.batches()) as batches:
        _, image_names = state.train_step(batches)
    parameters = dict(state.learner.named_parameters())
    return {
        name: parameter.grad.numpy()
        for name, parameter in parameters.items()
        if parameter.grad is not None
    }, image_names


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"accumulate": 2, "swahr": True}])
def test_two_processes_have_the_gradients_of_one_with_twice_the_batch(
    settings: dict[str, Any], make_config: MakeConfig
) -> None:
    config = make_config(initialization="kaiming", batch_size=4, **settings)
    half = replace(config, optim=replace(config.optim, batch_size=2))
    (first, first_names), (second, second_names) = run_in_two_processes(
        lambda group: gradients(half, group)
    )
    expected, names = gradients(config, ALONE)
    assert Counter(first_names + second_names) == Counter(names)
    state = TrainState(config, load_dataset(config.data), ALONE)
    assert expected.keys() == dict(state.learner.named_parameters()).keys()
    assert expected.keys() == first.keys() == second.keys()
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for name, gradient in expected.items():
        # Each process receives the same sums of the exchange, so these are equal to the bit.
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], gradient, rtol=1e-3, atol=1e-6 * largest)


def test_a_loss_that_is_not_finite_in_one_process_ends_both(make_config: MakeConfig) -> None:
    config = make_config(epochs=2)

    def work(group: ProcessGroup) -> str:
        state = TrainState(config, load_dataset(config.data), group)
        assert isinstance(state.network, HigherHRNet)
        if group.rank == 1:
            nn.init.constant_(state.network.final_layers[0].bias, float("nan"))  # type: ignore[arg-type]
        try:
            TrainingLoop(state, None).run()
        except InputError as error:
            return str(error)
        return "finished"

    first, second = run_in_two_processes(work)
    assert first.startswith("the loss of step 1 is not finite (in another process);")
    assert second.startswith("the loss of step 1 is not finite (images 0")


@pytest.fixture(scope="module")
def predicted_people(untrained_model: Path, scenes: Path) -> Path:
    """The scenes, annotated with people that the model predicts, every second one moved."""
    predictor = Predictor.load(untrained_model, engine="torch", threads=1)
    rng = np.random.default_rng(0)
    content = json.loads(scenes.read_text(encoding="utf-8"))
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
    path = scenes.with_name("predicted_people.json")
    path.write_text(json.dumps(content))
    return path


def test_two_processes_compute_the_metrics_of_one(
    untrained_model: Path, predicted_people: Path
) -> None:
    network, header = checkpoint.load(untrained_model)
    images = predicted_people.parent / "images"

    def work(group: ProcessGroup) -> dict[str, float]:
        validator = Validator(load_annotations(predicted_people), images, group)
        return validator.evaluate(network, header)

    main, other = run_in_two_processes(work)
    assert other == {}
    assert main == pytest.approx(work(ALONE), abs=1e-6)  # kernels may round differently
    assert 0.2 < main["AP"] < 0.9


@pytest.fixture
def torchrun() -> Iterator[Torchrun]:
    """Starts a training with torchrun in two processes."""
    processes: list[subprocess.Popen[str]] = []

    def start(config: TrainConfig, *arguments: str) -> subprocess.Popen[str]:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [sys.executable, "-m", *launcher, "-m", "higherhrnet", *command_line(config)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen(
                [*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def entries(config: TrainConfig) -> list[dict[str, Any]]:
    text = (config.run.out / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


NO_AUGMENTATION = [
    "--augment.rotation", "0", "--augment.scale", "1", "1", "--augment.translation", "0",
    "--augment.flip", "0",
]  # fmt: skip


@pytest.mark.slow
def test_torchrun_trains_and_validates_and_only_one_process_writes(
    make_config: MakeConfig, untrained_model: Path, predicted_people: Path, torchrun: Torchrun
) -> None:
    config = make_config(
        init=str(untrained_model),
        lr=1e-9,
        val=str(predicted_people),
        epochs=2,
        batch_size=5,
        preview_images=1,
    )
    process = torchrun(config, *NO_AUGMENTATION, "--eval-every", "1")
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    written = entries(config)
    assert [entry["step"] for entry in written if "loss" in entry] == [1, 2]
    validations = [entry for entry in written if "AP" in entry]
    assert [entry["step"] for entry in validations] == [1, 2]
    names = [path.name for path in config.run.out.iterdir() if not path.name.startswith("events.")]
    assert sorted(names) == [
        "best.safetensors", "config.json", "curves.png", "last.pt", "last.safetensors",
        "metrics.jsonl", "previews",
    ]  # fmt: skip
    assert len(list(config.run.out.glob("events.*"))) == 1
    assert len(list((config.run.out / "previews").iterdir())) == 2

    network, header = checkpoint.load(config.run.out / "last.safetensors")
    assert header.training["batch_size"] == 10
    images = predicted_people.parent / "images"
    metrics = Validator(load_annotations(predicted_people), images, ALONE).evaluate(network, header)
    assert 0.01 < metrics["AP"] < 0.99
    assert {name: validations[-1][name] for name in metrics} == pytest.approx(metrics, abs=1e-9)


@pytest.mark.slow
def test_a_stopped_torchrun_saves_and_can_be_resumed(
    make_config: MakeConfig, torchrun: Torchrun
) -> None:
    config = make_config(batch_size=2, epochs=1000)
    process = torchrun(config)
    metrics = config.run.out / "metrics.jsonl"
    while process.poll() is None and not (metrics.is_file() and len(entries(config)) > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode != 0, stderr
    step = torch.load(config.run.out / "last.pt", weights_only=True)["step"]
    assert step == len(entries(config)) > 2
    resumed = replace(
        config,
        run=replace(config.run, resume=True),
        optim=replace(config.optim, epochs=(step + 2) / 3),
    )

    def resume(group: ProcessGroup) -> bool:
        state = TrainState(resumed, load_dataset(config.data), group)
        state.resume()
        return TrainingLoop(state, None).run()

    assert run_in_two_processes(resume) == [True, True]
    assert [entry["step"] for entry in entries(config)] == list(range(1, step + 3))
