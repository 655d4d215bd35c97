"""A local HTTP server from which tests download models."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from threading import Event, Thread

import numpy as np
import pytest

from higherhrnet.zoo import download as download_module
from higherhrnet.zoo.download import BLOCK_SIZE
from tests.io.servers import HttpServer

CONTENT = b"PK\x03\x04" + np.random.default_rng(0).bytes(3 * BLOCK_SIZE)
"""The content of the served file by default; it only begins like a file of torch.save."""


class Server(HttpServer):
    """Serves CONTENT at every path, with the faults that a test sets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.files: dict[str, bytes] = {}  # served instead of `content`, by path
        self.content_type = "application/octet-stream"
        self.statuses: list[int] = []  # of the next responses, instead of a file
        self.interruptions: list[int] = []  # bytes after which the next responses end
        self.supports_range = True
        self.sends_length = True
        self.may_respond = Event()
        self.may_respond.set()
        self.ranges: list[str | None] = []  # the Range header of every request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, requested = self.server, self.headers["Range"]
        content = server.files.get(self.path, server.content)
        server.ranges.append(requested)
        server.may_respond.wait(10)
        start = 0
        if requested and server.supports_range:
            start = int(requested.removeprefix("bytes=").partition("-")[0])
        if server.statuses or start >= len(content):
            self.send_error(server.statuses.pop(0) if server.statuses else 416)
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", server.content_type)
        if server.sends_length:
            self.send_header("Content-Length", str(len(body)))
        if start:
            size = len(content)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        self.wfile.write(body[: server.interruptions.pop(0)] if server.interruptions else body)

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing."""


@pytest.fixture(autouse=True)
def downloads_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIGHERHRNET_OFFLINE")  # other tests must not download anything
    monkeypatch.delenv("HIGHERHRNET_MIRROR", raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download_module, "RETRY_DELAY", 0)
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.may_respond.set()
        server.shutdown()
        thread.join()
