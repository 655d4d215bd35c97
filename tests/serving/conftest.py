"""A service in a process of its own, on a free port, and a client for it."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DRAWN = EXAMPLES / "drawn.onnx"
SCENE = (EXAMPLES / "scene.png").read_bytes()
Body = bytes | Iterator[bytes] | None
PNG = {"content-type": "image/png"}


@dataclass
class Reply:
    """The response to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    port: int
    log: IO[str]
    """Where the service writes its errors."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: Body = None, /, **headers: str) -> Reply:
        """Sends a request; names of headers have underscores instead of hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        hyphenated = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, hyphenated)
            reply = connection.getresponse()
            lowercase = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, lowercase, reply.read())
        finally:
            connection.close()

    def post(
        self, path: str, body: Body = SCENE, content_type: str = "image/png", **headers: str
    ) -> Reply:
        return self.request("POST", path, body, content_type=content_type, **headers)

    def metric(self, name: str, **headers: str) -> float:
        """The value of a metric of Prometheus."""
        lines = self.request("GET", "/metrics", None, **headers).body.decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def wait_for(self, name: str, value: float) -> None:
        """Waits until a metric has a value."""
        for _ in range(600):
            if self.metric(name) == value:
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} is {self.metric(name)}, not {value}")


@contextmanager
def serving(*flags: object) -> Iterator[Service]:
    """Runs `higherhrnet serve` with the model examples/drawn.onnx."""
    engine = ["--engine", "onnxruntime", "--threads", "1"]
    command = [sys.executable, "-m", "higherhrnet", "serve", "-m", DRAWN, "--port", 0, *engine]
    # A pipe that nobody reads would block the service.
    with TemporaryFile("a+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*map(str, command), *map(str, flags)], stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line.startswith("http://127.0.0.1:"), read_log(log)
            yield Service(process, int(line.rsplit(":", 1)[1]), log)
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=60)
            assert "Traceback" not in read_log(log), read_log(log)


def read_log(log: IO[str]) -> str:
    """What a process has written to its log so far."""
    log.seek(0)
    return log.read()


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """One service for all tests that do not overload it."""
    limits = ("--max-megabytes", 2, "--max-megapixels", 4, "--max-network-megapixels", 0.3)
    with serving("--timeout", 5, *limits) as running:
        yield running
