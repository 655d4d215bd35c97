"""Servers of HTTP and RTSP for the tests, on 127.0.0.1."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Respond = Callable[[BaseHTTPRequestHandler], None]


class HttpServer(ThreadingHTTPServer):
    """A server that prints no traceback when a client closes its connection early."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def http_server(pages: dict[str, bytes | Respond]) -> Iterator[str]:
    """Serves the pages; yields the address without its scheme, such as `127.0.0.1:8000`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if callable(page):
                page(self)
            elif page is None:
                self.send_error(404)
            else:
                respond(self, page)

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    server = HttpServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def respond(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    status: int = 200,
    length: int | None = None,
    **headers: str,
) -> None:
    """Sends a response; `length` replaces the length of the content, -1 for none."""
    handler.send_response(status)
    if length != -1:
        handler.send_header("Content-Length", str(len(content) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def with_password(content: bytes, user: str, password: str) -> Respond:
    """Serves the content to those who send a user name and a password."""
    expected = "Basic " + b64encode(f"{user}:{password}".encode()).decode()

    def page(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Authorization") == expected:
            respond(handler, content)
        else:
            respond(handler, b"", 401, WWW_Authenticate='Basic realm="test"')

    return page


@contextmanager
def rtsp_server(stream: bytes, password: str | None = None, hold: float = 0) -> Iterator[int]:
    """Serves one client an MPEG transport stream over RTSP; yields the port.

    Args:
        stream: packets of 188 bytes.
        password: the password of the user `me`; default: none is needed.
        hold: seconds for which the connection stays open without data after the stream.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener, stream, password, hold), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def _serve(listener: socket.socket, stream: bytes, password: str | None, hold: float) -> None:
    description = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
    with suppress(OSError):
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as requests:
            while line := requests.readline().decode().strip():
                headers = {}
                while header := requests.readline().decode().strip():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                method = line.split()[0]
                reply = f"RTSP/1.0 200 OK\r\nCSeq: {headers.get('cseq', 0)}\r\n"
                content = ""
                expected = "Basic " + b64encode(f"me:{password}".encode()).decode()
                if password and method != "OPTIONS" and headers.get("authorization") != expected:
                    reply = reply.replace("200 OK", "401 Unauthorized")
                    reply += 'WWW-Authenticate: Basic realm="test"\r\n'
                elif method == "DESCRIBE":
                    content = description
                    reply += f"Content-Type: application/sdp\r\nContent-Length: {len(content)}\r\n"
                elif method == "SETUP":
                    reply += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
                connection.sendall(f"{reply}\r\n{content}".encode())
                if method == "PLAY":
                    _send_packets(connection, stream)
                    time.sleep(hold)
                    return


def _send_packets(connection: socket.socket, stream: bytes) -> None:
    size = 7 * 188
    for number, start in enumerate(range(0, len(stream), size)):
        payload = stream[start : start + size]
        packet = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 900, 1) + payload
        connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
