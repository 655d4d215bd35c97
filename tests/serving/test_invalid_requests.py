"""Invalid and hostile requests receive a 4xx status with a reason, and the service continues."""

import base64
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

from higherhrnet.cli.serve import ServiceOptions, serve
from higherhrnet.errors import InputError
from higherhrnet.io.images import encode_image, read_image
from tests.serving.conftest import DRAWN, SCENE, Service, serving
from tests.serving.test_responses import form

JPEG = encode_image(read_image(io.BytesIO(SCENE)), ".jpg")
STRIP = encode_image(np.zeros((16, 320, 3), np.uint8), ".png")
"""An image that is resized to 2560×128 for the network."""
FORM, JSON = "multipart/form-data; boundary=x", "application/json"
BASE64 = base64.b64encode(SCENE)
SCENE_PART = form(SCENE)[0]


def text_form(**fields: str) -> bytes:
    """The beginning of a form with text fields, and its end if nothing follows."""
    parts = (
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return "".join(parts).encode()


def json_body(*images: bytes) -> bytes:
    """A JSON body with a list of base64 strings."""
    return b'{"image": ["' + b'", "'.join(images) + b'"]}'


def png(width: int, height: int, pixel_bytes: int = 1000) -> bytes:
    """A PNG whose header states a size, with a number of zero bytes as pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(pixel_bytes)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def jpeg_with_many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated 1000 times."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 1000 + data[-2:]


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status", "reason"),
    [
        ("/poses", b"", "image/png", 415, "not a JPEG, PNG or WebP"),
        ("/poses", b"hello", "image/jpeg", 415, "not a JPEG, PNG or WebP"),
        ("/poses", b"GIF89a" + bytes(99), "image/png", 415, "not a JPEG, PNG or WebP"),
        ("/poses", SCENE, "image/gif", 415, "Content-Type must be"),
        ("/poses", SCENE, "application/x-www-form-urlencoded", 415, "Content-Type must be"),
        ("/poses", SCENE, "text/plain", 415, "application/json, not text/plain"),
        ("/poses", b"", "image/jpeg", 415, "the data is empty"),
        ("/poses", *form(SCENE, b"text"), 415, "image 2 of 2: the data is not"),
        ("/poses", *form(SCENE, SCENE[:500], SCENE), 422, "image 2 of 3: cannot be decoded"),
        ("/poses?minscore=1", SCENE, "image/png", 422, "minscore is not a query parameter"),
        ("/poses/", SCENE, "image/png", 404, "/poses/ is not an endpoint"),
        ("/info", SCENE, "image/png", 405, "/info does not accept POST; use GET"),
        ("/poses", SCENE[:500], "image/png", 422, "truncated"),
        ("/poses", SCENE[:20], "image/png", 422, "truncated"),
        ("/poses", JPEG[:300], "image/jpeg", 422, "truncated"),
        ("/poses", png(50_000, 50_000), "image/png", 422, "more than 4,000,000 pixels"),
        ("/poses", png(2_001, 2_000), "image/png", 422, "more than 4,000,000 pixels"),
        ("/poses", png(9, 9), "image/png", 422, "too few"),
        ("/poses", png(16, 4000), "image/png", 422, "times as long"),
        ("/poses", STRIP, "image/png", 422, "more than 0.3 million pixels; crop it"),
        ("/poses", jpeg_with_many_scans(), "image/jpeg", 422, "more than 100 scans"),
        ("/poses", SCENE, "multipart/form-data", 400, "Missing boundary"),
        ("/poses", SCENE, f"multipart/form-data; boundary={'x' * 300}", 400, "form is invalid"),
        ("/poses", b"--x--\r\n", FORM, 400, "contains no file"),
        ("/poses", b"garbage", FORM, 400, "form is invalid"),
        ("/poses", form(SCENE)[0][:-9], FORM, 400, "form is incomplete"),
        ("/poses", form(SCENE, SCENE)[0][:-99], FORM, 400, "form is incomplete"),
        ("/image", form(SCENE, SCENE)[0].replace(b"filename", b"x", 1), FORM, 400, "than 1"),
        ("/poses", *form(SCENE, b"text"), 415, "not a JPEG, PNG or WebP"),
        ("/poses", *form(*[JPEG[:99]] * 33), 400, "number of files is 32"),
        ("/image", *form(SCENE, SCENE), 400, "number of files is 1"),
        ("/poses", form(*[SCENE] * 20)[0], FORM, 413, "larger than 2 million bytes"),
        ("/poses?min_score=nan", SCENE, "image/png", 422, "min_score"),
        ("/poses?min_score=1.01", SCENE, "image/png", 422, "min_score"),
        ("/poses?flip=perhaps", SCENE, "image/png", 422, "flip"),
        ("/poses?model=/etc/passwd", SCENE, "image/png", 422, "model"),
        ("/image?format=../x", SCENE, "image/png", 422, "format"),
        ("/poses", b"GIF89a" + bytes(99), "application/octet-stream", 415, "not a JPEG, PNG"),
        ("/poses", b"\0\0\0\x18ftypheic" + bytes(99), "image/jpeg", 415, "image, but HEIC"),
        ("/poses", b"%PDF-1.7", "image/jpeg", 415, "image, but a PDF document"),
        (
            "/poses",
            text_form(user="me") + b"--x--\r\n",
            FORM,
            400,
            "no file, only the text fields user",
        ),
        ("/poses", text_form(flip="1") + SCENE_PART, FORM, 400, "flip must be a query parameter"),
        ("/poses", text_form(**dict.fromkeys(map(str, range(99)), "")), FORM, 400, "of fields"),
        ("/poses", b"", JSON, 400, "not valid JSON"),
        ("/poses", b"[" * 9_000, JSON, 400, "not valid JSON"),
        ("/poses", b"[" * 100_000, JSON, 400, "more than 10000 values"),
        ("/poses", b'"' + BASE64 + b'"', JSON, 400, "must be an object"),
        ("/poses", b"{}", JSON, 400, "no image; add the field image"),
        ("/poses", b'{"image": []}', JSON, 400, "no image; add the field image"),
        ("/poses", b'{"image": 5}', JSON, 400, "image 1 is not a string"),
        ("/poses", b'{"image": ["' + BASE64 + b'", null]}', JSON, 400, "image 2 is not a string"),
        ("/poses", b'{"image": "photo.jpg"}', JSON, 400, "image 1 is not valid base64"),
        ("/poses", b'{"image": "data:image/png,x"}', JSON, 400, "not encoded in base64"),
        ("/poses", b'{"image": ""}', JSON, 415, "not a JPEG, PNG or WebP"),
        ("/poses", b'{"image": "R0lGODlh"}', JSON, 415, "not a JPEG, PNG or WebP"),
        ("/poses", b'{"image": "' + BASE64[:800] + b'"}', JSON, 422, "truncated"),
        ("/poses", b'{"image": "' + BASE64 + b'", "min_score": 1}', JSON, 400, "query parameter"),
        ("/poses", json_body(*[BASE64[:40]] * 33), JSON, 400, "more images than 32"),
        ("/image", json_body(BASE64, BASE64), JSON, 400, "more images than 1"),
        ("/poses", json_body(b"A" * 2_000_001), JSON, 413, "larger than 2 million bytes"),
        ("/poses", bytes(2_000_001), "image/png", 413, "larger than 2 million bytes"),
        ("/poses", iter([SCENE] * 12), "image/png", 413, "larger than 2 million bytes"),
    ],
)
def test_an_invalid_request_receives_a_reason(
    path: str, body: bytes, content_type: str, status: int, reason: str, service: Service
) -> None:
    reply = service.post(path, body, content_type)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")
    assert reply.json["status"] == status and reason in reply.json["detail"]
    assert not reply.json["detail"].startswith(("the file", "the image"))
    assert len(service.post("/poses").json["annotations"]) == 3


def test_every_response_has_security_headers(service: Service) -> None:
    for path in ("/", "/page.js", "/poses", "/nothing"):
        headers = service.request("GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/page/../app.py", "/%2e%2e/app.py", "//etc"]
)
def test_paths_do_not_reach_other_files(path: str, service: Service) -> None:
    assert service.request("GET", path).status == 404


def test_a_decompression_bomb_does_not_take_memory(service: Service) -> None:
    status = Path(f"/proc/{service.process.pid}/status")
    if not status.exists():
        pytest.skip("the peak memory of a process is not available on this system")

    def peak() -> int:
        lines = status.read_text(encoding="utf-8").splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM"))
        return int(line.split()[1])

    service.post("/poses")
    before = peak()
    bomb = png(8000, 8000, 8000 * (1 + 3 * 8000))  # each row has one byte more
    reply = service.post("/poses", bomb)
    assert reply.status == 422 and "more than 4,000,000 pixels" in reply.json["detail"]
    assert peak() - before < 100_000


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        yield connection


HEAD = b"POST /poses HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
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
def test_malformed_http_is_rejected(sent: bytes, status: bytes, service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(sent)
        assert connection.recv(12) == b"HTTP/1.1 " + status


def test_a_disconnect_during_an_upload_frees_its_slot(service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + SCENE[:500])
    service.wait_for("higherhrnet_images_in_progress", 0)
    assert service.post("/poses").status == 200


@pytest.fixture(scope="module")
def short_timeout() -> Iterator[Service]:
    with serving("--timeout", 1, "--max-connections", 10) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n12345678"])
def test_slow_uploads_time_out(sent: bytes, short_timeout: Service) -> None:
    with connected(short_timeout) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
        assert (b" 408 " in received) == sent.endswith(b"8")


@pytest.mark.slow
def test_a_slow_reader_receives_the_complete_response() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), np.uint8)
    body = encode_image(noise, ".jpg")
    head = HEAD.replace(b"png", b"jpeg").replace(b"/poses", b"/image?format=png")
    with serving("--timeout", 2) as service, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", service.port))
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        with http.client.HTTPResponse(connection) as reply:
            reply.begin()
            size, read = int(reply.headers["content-length"]), 0
            assert reply.status == 200 and size > 8_000_000  # more than the socket's buffers
            while chunk := reply.read(size // 80):  # takes eight seconds
                read += len(chunk)
                time.sleep(0.1)
            assert read == size


@pytest.mark.slow
def test_connections_beyond_the_maximum_are_rejected() -> None:
    with (
        serving("--max-connections", 1) as service,
        closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection,
    ):
        for _ in range(2):
            connection.request("GET", "/health")
            reply = connection.getresponse()
            assert reply.status == 200 and reply.read()
            assert service.request("GET", "/health").status == 503


@pytest.mark.slow
def test_idle_connections_are_closed_for_other_clients(short_timeout: Service) -> None:
    idle = [socket.create_connection(("127.0.0.1", short_timeout.port)) for _ in range(10)]
    assert short_timeout.request("GET", "/health").status == 503
    for connection in idle:
        connection.settimeout(30)
        assert connection.recv(1) == b""
        connection.close()
    assert short_timeout.request("GET", "/health").status == 200


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"one\ntwo\n", "schlüssel".encode(), b"\xff\xfe", b"\0"]
)
def test_a_token_that_clients_cannot_send_is_rejected(content: bytes, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_bytes(content)
    with pytest.raises(InputError, match="one line of printable ASCII characters"):
        serve(ServiceOptions(model=str(DRAWN)), token_file=token_file)


@pytest.mark.parametrize("prefix", ["pose", "/pose/", "/"])
def test_an_invalid_prefix_is_rejected(prefix: str) -> None:
    with pytest.raises(InputError, match="--root-path must begin with / and not end with /"):
        serve(ServiceOptions(model=str(DRAWN)), root_path=prefix)


def test_a_path_with_a_slash_at_the_end_is_not_redirected(service: Service) -> None:
    assert service.post("/poses/").status == 404  # a redirect would omit the prefix of a proxy


@pytest.mark.slow
def test_requests_without_the_token_are_rejected(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("open sesame\n")
    valid = "Bearer open sesame"
    with serving("--token-file", token_file) as service:
        for invalid in (
            {},
            {"authorization": "Bearer close"},
            {"authorization": "Basic b3Blbg=="},
        ):
            for method, path in (("POST", "/poses"), ("POST", "/image"), ("GET", "/metrics")):
                reply = service.request(method, path, SCENE, content_type="image/png", **invalid)
                assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer"
        assert service.post("/poses", authorization=valid).status == 200
        assert service.metric("higherhrnet_batch_size_sum", authorization=valid) == 1
        assert service.request("GET", "/health").status == service.request("GET", "/").status == 200
