"""Two machines that train together, each with torchrun as docs/many-machines.md starts it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from higherhrnet.config.training import TrainConfig
from tests.training.conftest import MakeConfig, command_line
from tests.training.processes import free_port

DOCUMENT = Path(__file__).parents[2] / "docs" / "many-machines.md"
MARK = "<!-- not run: tests/training/test_elastic.py does, on one machine -->"
Agent = subprocess.Popen[str]
Start = Callable[[TrainConfig, bool], Agent]
QUICK = "last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=5"
EPOCHS_PER_STEP = {1: 0.2, 2: 0.333}
"""By the number of processes: of ten scenes, each step uses two in each process."""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the documented command for a training, as the first or second machine."""
    block = DOCUMENT.read_text().split(f"{MARK}\n```sh\nexport ")[1]
    setting, _, command = block.split("```")[0].partition("\ntorchrun ")
    launcher = command.partition("-m higherhrnet")[0]
    endpoint = f"localhost:{free_port()}"
    agents: list[Agent] = []

    def start(config: TrainConfig, first: bool) -> Agent:
        words = shlex.split(launcher.replace("\\\n", " ").replace("first:29400", endpoint))
        words += [
            "--rdzv-conf",
            f"is_host={first},{QUICK}",
            "-m",
            "higherhrnet",
            *command_line(config),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | dict([setting.split("=")])
        command = [sys.executable, "-m", "torch.distributed.run", *words]
        agents.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return agents[-1]

    yield start
    for agent in agents:
        kill(agent)
        agent.communicate()


def kill(agent: Agent) -> None:
    """Kills an agent and its processes, as a power failure would."""
    if sys.platform != "win32" and agent.poll() is None:
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text(encoding="utf-8")
        agent.kill()
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)


def epochs(config: TrainConfig) -> list[float]:
    """The number of epochs done after each step."""
    path = config.run.out / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line)["epoch"] for line in lines if line.endswith("}")]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_training_continues_on_one_machine_when_the_other_fails(
    make_config: MakeConfig, start: Start
) -> None:
    config = make_config(batch_size=2, epochs=12, save_minutes=0.006, resume=True)
    first, second = start(config, True), start(config, False)
    last = config.run.out / "last.pt"
    while first.poll() is None and not (
        last.is_file() and EPOCHS_PER_STEP[2] in epochs_per_step(config)
    ):
        time.sleep(0.02)
    assert first.poll() is None, first.communicate()
    before = epochs(config)[-1]
    kill(second)
    _, stderr = first.communicate(timeout=300)
    assert first.returncode == 0, stderr
    resumed = re.findall(r"f32 on 1 × cpu, 0 loader processes; resuming at epoch ([\d.]+)", stderr)
    assert resumed and 0 < float(resumed[-1]) < before + 2  # some steps may have followed
    done = epochs(config)
    assert done == sorted(set(done)) and done[-1] == 12
    steps = epochs_per_step(config)
    assert steps[-1] == EPOCHS_PER_STEP[1]
    assert sum(step not in EPOCHS_PER_STEP.values() for step in steps) <= 2  # at the transitions


def epochs_per_step(config: TrainConfig) -> list[float]:
    """The fraction of an epoch of each step but the first."""
    return [round(after - before, 3) for before, after in pairwise(epochs(config))]
