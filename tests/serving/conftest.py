"""A service in a process of its own, on a free port, spoken to over its socket."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DRAWN = EXAMPLES / "drawn.onnx"
SCENE = (EXAMPLES / "scene.png").read_bytes()
Body = bytes | Iterator[bytes] | None
PNG = {"content-type": "image/png"}


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


@dataclass
class Service:
    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Body = None, /, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, names, reply.read())
        finally:
            connection.close()

    def post(self, path: str, body: Body = SCENE, kind: str = "image/png", **headers: str) -> Reply:
        return self.ask("POST", path, body, content_type=kind, **headers)

    def figure(self, name: str, **headers: str) -> float:
        """A figure of /metrics."""
        lines = self.ask("GET", "/metrics", None, **headers).body.decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def wait_for(self, name: str, value: float) -> None:
        for _ in range(600):
            if self.figure(name) == value:
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} is {self.figure(name)}, not {value}")


@contextmanager
def serving(*flags: object) -> Iterator[Service]:
    engine = ["--engine", "onnxruntime", "--threads", "1"]
    command = [sys.executable, "-m", "higherhrnet", "serve", "-m", DRAWN, "--port", 0, *engine]
    process = subprocess.Popen(
        [*map(str, command), *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    said = process.stdout.readline()
    assert said.startswith("http://127.0.0.1:"), process.stderr.read()
    try:
        yield Service(process, int(said.rsplit(":", 1)[1]))
    finally:
        if process.poll() is None:
            process.terminate()
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors, errors


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """One for all tests that do not overload it."""
    small = ("--max-megabytes", 2, "--max-megapixels", 4, "--max-network-megapixels", 0.3)
    with serving("--timeout", 5, *small) as one:
        yield one
