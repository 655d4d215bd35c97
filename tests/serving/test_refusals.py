"""Bad input gets a 4xx with a reason, hostile input as well, and the service goes on."""

import http.client
import io
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from higherhrnet.cli.options import InferenceOptions
from higherhrnet.cli.serve import serve
from higherhrnet.errors import InputError
from higherhrnet.io.images import encode_image, read_image
from tests.serving.conftest import DRAWN, SCENE, Service, serving
from tests.serving.test_responses import form

JPEG = encode_image(read_image(io.BytesIO(SCENE)), ".jpg")
STRIP = encode_image(np.zeros((16, 320, 3), np.uint8), ".png")
"""Shown to the network at 2560×128."""


def png(width: int, height: int, held: int = 1000) -> bytes:
    """A black PNG that says how large it is, and holds so many bytes of its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(held))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes a thousand times."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 1000 + data[-2:]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "said"),
    [
        ("/poses", b"", "image/png", 415, "not the bytes of"),
        ("/poses", b"hello", "image/jpeg", 415, "not the bytes of"),
        ("/poses", b"GIF89a" + bytes(99), "image/png", 415, "not the bytes of"),
        ("/poses", SCENE, "image/gif", 415, "Content-Type must be"),
        ("/poses", SCENE, "application/x-www-form-urlencoded", 415, "Content-Type must be"),
        ("/poses", SCENE[:500], "image/png", 422, "cut short"),
        ("/poses", SCENE[:20], "image/png", 422, "cut short"),
        ("/poses", JPEG[:300], "image/jpeg", 422, "cut short"),
        ("/poses", png(50_000, 50_000), "image/png", 422, "more than 4,000,000 pixels"),
        ("/poses", png(2_001, 2_000), "image/png", 422, "more than 4,000,000 pixels"),
        ("/poses", png(9, 9), "image/png", 422, "too few"),
        ("/poses", png(16, 4000), "image/png", 422, "times as long"),
        ("/poses", STRIP, "image/png", 422, "more than 0.3 million; crop it"),
        ("/poses", many_scans(), "image/jpeg", 422, "scans"),
        ("/poses", SCENE, "multipart/form-data", 400, "form"),
        ("/poses", SCENE, f"multipart/form-data; boundary={'x' * 300}", 400, "form is damaged"),
        ("/poses", b"--x--\r\n", "multipart/form-data; boundary=x", 400, "no photograph"),
        ("/poses", b"garbage", "multipart/form-data; boundary=x", 400, "form is damaged"),
        ("/poses", form(SCENE)[0][:-9], "multipart/form-data; boundary=x", 400, "cut short"),
        ("/poses", *form(SCENE, b"text"), 415, "not the bytes of"),
        ("/poses", *form(*[JPEG[:99]] * 33), 400, "than the 32"),
        ("/picture", *form(SCENE, SCENE), 400, "than the 1"),
        ("/poses?min_score=nan", SCENE, "image/png", 422, "min_score"),
        ("/poses?min_score=1.01", SCENE, "image/png", 422, "min_score"),
        ("/poses?flip=perhaps", SCENE, "image/png", 422, "flip"),
        ("/poses?model=/etc/passwd", SCENE, "image/png", 422, "model"),
        ("/picture?format=../x", SCENE, "image/png", 422, "format"),
        ("/poses", bytes(2_000_001), "image/png", 413, "more than 2 million bytes"),
        ("/poses", iter([SCENE] * 12), "image/png", 413, "more than 2 million bytes"),
    ],
)
def test_bad_requests_are_told_why(
    path: str, body: bytes, kind: str, status: int, said: str, service: Service
) -> None:
    reply = service.post(path, body, kind)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")
    assert reply.json["status"] == status and said in reply.json["detail"]
    assert len(service.post("/poses").json["annotations"]) == 3


def test_every_answer_keeps_browsers_strict(service: Service) -> None:
    for path in ("/", "/page.js", "/poses", "/nothing"):
        headers = service.ask("GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/page/../app.py", "/%2e%2e/app.py", "//etc"]
)
def test_paths_lead_nowhere(path: str, service: Service) -> None:
    assert service.ask("GET", path).status == 404


def test_a_bomb_costs_no_memory(service: Service) -> None:
    status = Path(f"/proc/{service.process.pid}/status")
    if not status.exists():
        pytest.skip("the system does not say how much memory a process had")

    def peak() -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1])

    service.post("/poses")
    before = peak()
    bomb = png(8000, 8000, 8000 * (1 + 3 * 8000))  # each row has a byte more
    reply = service.post("/poses", bomb)
    assert reply.status == 422 and "more than 4,000,000 pixels" in reply.json["detail"]
    assert peak() - before < 100_000


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        yield connection


HEAD = b"POST /poses HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (HEAD + b"Content-Length: -5\r\n\r\n", b"400"),
        (HEAD + b"Content-Length: five\r\n\r\n", b"400"),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"400"),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", b"413"),
        (HEAD + b"Content-Length: 5\r\n\r\nhello, and more than that", b"415"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfive\r\n", b"400"),
        (b"\x16\x03\x01 TLS\r\n\r\n", b"400"),
        (HEAD + b"X: " + b"x" * 70_000, b"400"),
    ],
)
def test_wrong_lengths_and_no_http(sent: bytes, answered: bytes, service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(sent)
        assert connection.recv(12) == b"HTTP/1.1 " + answered


def test_who_leaves_before_the_end_is_forgotten(service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + SCENE[:500])
    service.wait_for("higherhrnet_photographs_under_way", 0)
    assert service.post("/poses").status == 200


@pytest.fixture(scope="module")
def hasty() -> Iterator[Service]:
    with serving("--timeout", 1, "--connections", 10) as one:
        yield one


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n12345678"])
def test_slow_senders_are_cut_off(sent: bytes, hasty: Service) -> None:
    with connected(hasty) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
        assert (b" 408 " in received) == sent.endswith(b"8")


def test_slow_readers_get_all_as_long_as_they_read() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), np.uint8)
    body = encode_image(noise, ".jpg")
    head = HEAD.replace(b"png", b"jpeg").replace(b"/poses", b"/picture?format=png")
    with serving("--timeout", 2) as service, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", service.port))
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        with http.client.HTTPResponse(connection) as reply:
            reply.begin()
            size, read = int(reply.headers["content-length"]), 0
            assert reply.status == 200 and size > 8_000_000  # more than the system takes at once
            while chunk := reply.read(size // 80):  # eight seconds in all
                read += len(chunk)
                time.sleep(0.1)
            assert read == size


def test_one_connection_is_enough_for_one_client() -> None:
    with (
        serving("--connections", 1) as service,
        closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection,
    ):
        for _ in range(2):
            connection.request("GET", "/health")
            reply = connection.getresponse()
            assert reply.status == 200 and reply.read()
            assert service.ask("GET", "/health").status == 503


def test_slow_senders_cannot_keep_others_out(hasty: Service) -> None:
    """All connections are taken by those who say nothing; they make way."""
    idle = [socket.create_connection(("127.0.0.1", hasty.port)) for _ in range(10)]
    assert hasty.ask("GET", "/health").status == 503
    for connection in idle:
        connection.settimeout(30)
        assert connection.recv(1) == b""
        connection.close()
    assert hasty.ask("GET", "/health").status == 200


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"one\ntwo\n", "schlüssel".encode(), b"\xff\xfe", b"\0"]
)
def test_a_token_is_one_line_that_clients_can_send(content: bytes, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_bytes(content)
    with pytest.raises(InputError, match="token must hold one line of printable ASCII"):
        serve(InferenceOptions(model=str(DRAWN)), token_file=secret)


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("open sesame\n")
    right = "Bearer open sesame"
    with serving("--token-file", secret) as service:
        for wrong in ({}, {"authorization": "Bearer close"}, {"authorization": "Basic b3Blbg=="}):
            for method, path in (("POST", "/poses"), ("POST", "/picture"), ("GET", "/metrics")):
                reply = service.ask(method, path, SCENE, content_type="image/png", **wrong)
                assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer"
        assert service.post("/poses", authorization=right).status == 200
        assert service.figure("higherhrnet_batch_photographs_sum", authorization=right) == 1
        assert service.ask("GET", "/health").status == service.ask("GET", "/").status == 200
