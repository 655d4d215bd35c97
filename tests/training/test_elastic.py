"""Two machines that train together, each a torchrun agent, as docs/many-machines.md says it."""

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

from higherhrnet.recipes import TrainConfig
from tests.training.conftest import Small, flags
from tests.training.two import free_port

DOCUMENT = Path(__file__).parents[2] / "docs" / "many-machines.md"
MARK = "<!-- not run: tests/training/test_elastic.py does, on one machine -->"
Agent = subprocess.Popen[str]
Start = Callable[[TrainConfig, bool], Agent]
QUICK = "last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=5"
ALONE, BOTH = 0.2, 0.333
"""Of an epoch, what a step is: ten scenes, two a process, the last batch filled up."""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the documented command with a training of ours, as the first machine or the other."""
    block = DOCUMENT.read_text().split(f"{MARK}\n```sh\nexport ")[1]
    setting, _, command = block.split("```")[0].partition("\ntorchrun ")
    launcher = command.partition("-m higherhrnet")[0]
    endpoint = f"localhost:{free_port()}"
    agents: list[Agent] = []

    def start(config: TrainConfig, first: bool) -> Agent:
        words = shlex.split(launcher.replace("\\\n", " ").replace("first:29400", endpoint))
        words += ["--rdzv-conf", f"is_host={first},{QUICK}", "-m", "higherhrnet", *flags(config)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | dict([setting.split("=")])
        command = [sys.executable, "-m", "torch.distributed.run", *words]
        agents.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return agents[-1]

    yield start
    for agent in agents:
        lose(agent)
        agent.communicate()


def lose(agent: Agent) -> None:
    """Ends an agent and its processes as a power cut would."""
    if agent.poll() is None:
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        agent.kill()
        for child in children:
            os.kill(int(child), signal.SIGKILL)


def epochs(config: TrainConfig) -> list[float]:
    """After each step."""
    path = config.run.out / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line)["epoch"] for line in lines if line.endswith("}")]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_a_machine_is_lost_and_the_other_goes_on(small: Small, start: Start) -> None:
    config = small(batch_size=2, epochs=12, save_minutes=0.006, resume=True)
    first, other = start(config, True), start(config, False)
    last = config.run.out / "last.pt"
    while first.poll() is None and not (last.is_file() and BOTH in paces(config)):
        time.sleep(0.02)
    assert first.poll() is None, first.communicate()
    before = epochs(config)[-1]
    lose(other)
    _, said = first.communicate(timeout=300)
    assert first.returncode == 0, said
    resumed = re.findall(r"f32 on 1 × cpu; goes on at epoch ([\d.]+)", said)
    assert resumed and 0 < float(resumed[-1]) < before + 2  # it may have made steps since
    done = epochs(config)
    assert done == sorted(set(done)) and done[-1] == 12
    assert paces(config)[-1] == ALONE
    steps = [BOTH, ALONE]
    assert sum(pace not in steps for pace in paces(config)) <= 2  # where its size changed


def paces(config: TrainConfig) -> list[float]:
    """How far each step came but the first."""
    return [round(after - before, 3) for before, after in pairwise(epochs(config))]
