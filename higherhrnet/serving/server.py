"""The service on a socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import numpy as np
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from higherhrnet.errors import InputError
from higherhrnet.inference.predictor import Predictor
from higherhrnet.serving.app import create_app
from higherhrnet.serving.limits import ServingLimits


def run_server(
    predictor: Predictor, host: str, port: int, limits: ServingLimits, token: str | None = None
) -> None:
    """Serves until SIGINT or SIGTERM; what was accepted by then is finished first.

    Raises:
        InputError: the address cannot be listened on.
    """
    gray = np.full((480, 640, 3), 127, np.uint8)
    predictor(gray)  # a network that fails does so before the port opens
    config = uvicorn.Config(
        create_app(predictor, limits, token),
        http=_patient_for(limits.timeout),
        limit_concurrency=limits.connections + 1,  # uvicorn refuses the last
        timeout_graceful_shutdown=int(2 * limits.timeout) + 1,
        log_level="warning",
        server_header=False,
    )
    with _listening(host, port) as listener, suppress(KeyboardInterrupt):
        host, port = listener.getsockname()[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        uvicorn.Server(config).run([listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot listen on {host} port {port}: {reason}; say another") from error


def _patient_for(seconds: float) -> type[asyncio.Protocol]:
    """HTTP on connections that are cut when no request is under way, or nothing read, for so long.

    uvicorn itself waits for ever for a first request, for the rest of one that was refused early,
    and for clients that do not read their answers.
    """

    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # asyncio sets this only for sockets that name their protocol, which create_server's do
            # not; without it the kernel holds an answer's body back until its head is acknowledged
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._watch()

        def on_response_complete(self) -> None:
            self._watch()
            super().on_response_complete()

        def _watch(self) -> None:
            unread = self.transport.get_write_buffer_size()
            self.loop.call_later(seconds, self._cut, self.cycle, unread)

        def _cut(self, cycle: object, unread: int) -> None:
            if self.cycle is not cycle or self not in self.connections:
                return  # there was a request since, or the client left
            if self.transport.get_write_buffer_size() < unread:
                self._watch()  # the client is slow, but reads
            else:
                self.transport.abort()

    return Protocol
