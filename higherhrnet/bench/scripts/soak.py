"""Runs the service for long under valid, slow, broken and canceled requests.

Run with: python -m higherhrnet.bench.scripts.soak --seconds 1800
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from socket import SO_LINGER, SOL_SOCKET
from time import monotonic
from typing import Annotated

import tyro

from higherhrnet.bench.scripts.serving import read_metrics, running_service
from higherhrnet.bench.tables import markdown_table
from higherhrnet.engines.base import EngineOptions
from higherhrnet.errors import require
from higherhrnet.io.images import encode_image
from higherhrnet.synthetic.scenes import draw_scene

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Response = tuple[int, bytes]
"""Status and body; status 0 if the client did not wait."""
Send = Callable[[Reader, Writer], Awaitable[Response]]
REFUSALS = (429, 503)
"""The statuses of a service that is overloaded."""
ANSWER_TIMEOUT = 120
"""Seconds after which a request counts as lost."""
PAUSE = 0.5
"""Seconds for which a client waits after a refusal."""


class Soak:
    """Clients of a service, and what became of their requests.

    Args:
        port: the port of the service on this machine.
        data: the PNG file that clients send.
    """

    def __init__(self, port: int, data: bytes) -> None:
        self._port = port
        headers = f"Host: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(data)}\r\n"
        self._head, self._body = f"POST /poses HTTP/1.1\r\n{headers}\r\n".encode(), data
        self._expected = b""
        self.outcomes: Counter[str] = Counter()
        """The number of requests of each kind and outcome."""
        self.lost: list[str] = []
        """What was wrong with each complete request that received no valid response."""

    async def prepare(self) -> None:
        """Requests the response that all others must equal."""
        status, self._expected = await self._connected(self._send_whole)
        require(status == 200, f"the first request received status {status}")

    async def run_client(self, end: float, chance: random.Random) -> None:
        """Sends requests of random kinds, one after the other, until a time of `monotonic`."""
        valid = (self._send_whole, self._send_slowly, self._send_with_others)
        invalid = (self._send_half, self._send_surplus, self._send_garbage)
        canceled = (self._close_early, self._reset)
        while monotonic() < end:
            kinds = chance.choices((valid, invalid, canceled), (80, 10, 10))[0]
            send = chance.choices(kinds, (8, 1, 1) if kinds is valid else None)[0]
            name = send.__name__.removeprefix("_").replace("_", " ")
            try:
                status, body = await asyncio.wait_for(self._connected(send), ANSWER_TIMEOUT)
                problem = "" if status in REFUSALS or body == self._expected else "other response"
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                status, problem = 0, repr(error)
            self.outcomes[f"{name}: {status or 'no response'}"] += 1
            if kinds is valid and problem:
                self.lost.append(f"{name}, status {status}: {problem}")
            if status in REFUSALS:
                await asyncio.sleep(PAUSE)

    async def _connected(self, send: Send) -> Response:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            return await send(reader, writer)
        finally:
            writer.close()

    async def _send_whole(self, reader: Reader, writer: Writer) -> Response:
        writer.write(self._head + self._body)
        return await _read_response(reader)

    async def _send_slowly(self, reader: Reader, writer: Writer) -> Response:
        sent = self._head + self._body
        for start in range(0, len(sent), 1 + len(sent) // 10):
            writer.write(sent[start : start + 1 + len(sent) // 10])
            await asyncio.sleep(random.random() / 5)
        return await _read_response(reader)

    async def _send_with_others(self, reader: Reader, writer: Writer) -> Response:
        """Sends three requests at once; returns the last response, or the first refusal."""
        writer.write(3 * (self._head + self._body))
        for _ in range(3):
            response = await _read_response(reader)
            if response[0] in REFUSALS or response[1] != self._expected:
                break
        return response

    async def _send_half(self, reader: Reader, writer: Writer) -> Response:
        writer.write(self._head + self._body[: len(self._body) // 2])
        writer.write_eof()
        return await _read_response(reader)

    async def _send_surplus(self, reader: Reader, writer: Writer) -> Response:
        """Sends more bytes than the header announces."""
        length = str(len(self._body)).encode()
        writer.write(self._head.replace(length, b"100") + self._body)
        return await _read_response(reader)

    async def _send_garbage(self, reader: Reader, writer: Writer) -> Response:
        writer.write(random.randbytes(1000) + b"\r\n\r\n")
        return await _read_response(reader)

    async def _close_early(self, reader: Reader, writer: Writer) -> Response:
        writer.write(self._head + self._body)
        await asyncio.sleep(random.random() / 2)
        return 0, b""

    async def _reset(self, reader: Reader, writer: Writer) -> Response:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        return await self._close_early(reader, writer)


async def _read_response(reader: Reader) -> Response:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    return int(head.split(maxsplit=2)[1]), await reader.readexactly(int(length or 0))


async def soak(port: int, data: bytes, seconds: float, clients: int) -> Soak:
    """Runs clients for a time, and prints ten times how many requests were answered."""
    run, end = Soak(port, data), monotonic() + seconds
    await run.prepare()
    tasks = [asyncio.create_task(run.run_client(end, random.Random(i))) for i in range(clients)]
    rows = []
    for part in range(1, 11):
        await asyncio.sleep(seconds / 10)
        values = await asyncio.to_thread(read_metrics, port)
        answered = sum(count for name, count in run.outcomes.items() if name.endswith(": 200"))
        memory = f"{values.get('process_resident_memory_bytes', 0) / 1e6:.0f}"
        files = int(values.get("process_open_fds", 0))
        rows.append([f"{seconds * part / 10:.0f}", answered, memory, files])
        print(f"{rows[-1][0]} s: {answered} answered, {memory} MB", flush=True)
    await asyncio.gather(*tasks)
    while (await asyncio.to_thread(read_metrics, port))["higherhrnet_images_in_progress"]:
        require(monotonic() < end + ANSWER_TIMEOUT, "images of closed requests remain in the queue")
        await asyncio.sleep(PAUSE)
    print(markdown_table(["seconds", "answered", "memory, MB", "open files"], rows), "\n")
    return run


def main(
    options: Annotated[EngineOptions, tyro.conf.arg(name="")] = EngineOptions(streams=1),
    seconds: float = 60.0,
    clients: int = 64,
) -> None:
    """Fails if a complete request receives neither the right response nor status 429 or 503.

    Of the requests, 80 % are complete (some of them sent slowly or three at a time), 10 % invalid
    and 10 % canceled. All send the same synthetic scene and must receive the same response.

    Args:
        options: The model and the engine.
        seconds: Duration of the run.
        clients: Number of clients, each of which sends one request after the other.
    """
    data = encode_image(draw_scene(0, height=480, width=640).image, ".png")
    with running_service(options, max_queue=clients // 2) as port:
        run = asyncio.run(soak(port, data, seconds, clients))
    print(markdown_table(["requests", "number"], sorted(run.outcomes.items())))
    require(not run.lost, f"{len(run.lost)} complete requests were lost: {run.lost[:5]}")


if __name__ == "__main__":
    tyro.cli(main)
