"""Runs the HTTP service on a socket until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from contextlib import suppress
from types import FrameType

import numpy as np
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from higherhrnet.errors import InputError
from higherhrnet.inference.predictor import Predictor
from higherhrnet.serving.app import create_app
from higherhrnet.serving.limits import ServingLimits


def run_server(
    predictor: Predictor,
    host: str,
    port: int,
    limits: ServingLimits,
    token: str | None = None,
    root_path: str = "",
) -> None:
    """Serves until SIGINT or SIGTERM, then answers the requests that it has accepted.

    A second SIGINT cancels these requests, which receive status 500.

    Args:
        predictor: the model and the default inference settings.
        host: the address to listen on, IPv4, IPv6 or a name.
        port: the port to listen on; 0 selects a free port. The URL is printed.
        limits: limits of the service.
        token: the bearer token that clients must send, or None to serve all clients.
        root_path: the prefix of all paths that a reverse proxy removes, such as `/pose`.

    Raises:
        InputError: the address is not available.
    """
    gray = np.full((480, 640, 3), 127, np.uint8)
    predictor(gray)  # raises the errors of an unusable network before the port is opened
    config = uvicorn.Config(
        create_app(predictor, limits, token),
        http=_protocol_with_timeout(limits.timeout),
        limit_concurrency=limits.max_connections + 1,  # uvicorn rejects at the limit, not above it
        timeout_graceful_shutdown=int(2 * limits.timeout) + 1,
        log_level="warning",
        server_header=False,
        root_path=root_path,
    )
    with _listen(host, port) as listener, suppress(KeyboardInterrupt):
        host, port = listener.getsockname()[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        _Server(config).run([listener])


class _Server(uvicorn.Server):
    """uvicorn's server, which reports a forced exit in one line instead of many tracebacks."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and sig == signal.SIGINT:
            logger = logging.getLogger("uvicorn.error")
            logger.warning("Interrupted again: the requests in progress are canceled.")
            logger.disabled = True  # it would report each canceled request as an error
        super().handle_exit(sig, frame)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host} port {port}: {reason}; choose another --host or --port"
        ) from error


def _protocol_with_timeout(seconds: float) -> type[asyncio.Protocol]:
    """Returns uvicorn's HTTP protocol with a timeout for idle connections.

    A connection is closed if for this time no request is in progress on it, or if for this time the
    client reads nothing of a response. uvicorn itself waits without limit for the first request of
    a connection, for the rest of a request that was rejected early, and for clients that do not
    read their responses.
    """

    class Protocol(H11Protocol):
        """HTTP/1.1 with a timeout for idle connections, and without delayed small packets."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # asyncio sets TCP_NODELAY only for sockets with an explicit protocol, unlike those of
            # create_server. Without it, the kernel delays the body of a response until the client
            # has acknowledged its headers.
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start_timeout()

        def on_response_complete(self) -> None:
            self._start_timeout()
            super().on_response_complete()

        def _start_timeout(self) -> None:
            unsent = self.transport.get_write_buffer_size()
            self.loop.call_later(seconds, self._close_if_idle, self.cycle, unsent)

        def _close_if_idle(self, cycle: object, unsent: int) -> None:
            if self.cycle is not cycle or self not in self.connections:
                return  # another request has begun, or the connection is closed
            if self.transport.get_write_buffer_size() < unsent:
                self._start_timeout()  # the client reads slowly
            else:
                self.transport.abort()

    return Protocol
