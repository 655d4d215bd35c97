"""Images, videos and streams are read from servers, bounded in size and time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from io import BytesIO, StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from higherhrnet.cli.main import main
from higherhrnet.errors import InputError
from higherhrnet.io import remote
from higherhrnet.io.listing import list_sources
from higherhrnet.io.sources import Frame, read_frames
from higherhrnet.io.video import capture, video_reader
from tests.conftest import ModelFiles
from tests.io.servers import Respond, http_server, respond, rtsp_server, with_password
from tests.io.videos import read_video, write_video


def image_file(image_format: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    Pillow.new("RGB", (64, 48), "red").save(buffer, image_format, **options)
    return buffer.getvalue()


def redirect(target: str) -> Respond:
    return lambda handler: respond(handler, b"", 302, Location=target)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Sends one byte at a time, each within the limit of a read."""
    handler.send_response(200)
    handler.end_headers()
    for byte in image_file():
        handler.wfile.write(bytes([byte]))
        time.sleep(0.2)


def drip_header(handler: BaseHTTPRequestHandler) -> None:
    for byte in b"HTTP/1.0 200 OK\r\n" + 100 * b"X: y\r\n":
        handler.wfile.write(bytes([byte]))
        time.sleep(0.2)


def endless(handler: BaseHTTPRequestHandler) -> None:
    respond(handler, image_file(), length=-1)
    while True:
        handler.wfile.write(bytes(2**20))


def motion_jpeg(handler: BaseHTTPRequestHandler) -> None:
    """Sends what a web camera sends."""
    image = image_file("JPEG")
    part = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(image)
    media_type = "multipart/x-mixed-replace; boundary=x"
    respond(handler, 5 * (part + image + b"\r\n"), length=-1, Content_Type=media_type)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4")


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("stream") / "clip.ts"
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 25, (320, 240))
    noise = np.random.default_rng(0)
    for _ in range(50):
        writer.write(noise.integers(0, 255, (240, 320, 3), np.uint8))
    writer.release()
    return path.read_bytes()


@pytest.fixture(scope="module")
def server(video: Path) -> Iterator[str]:
    gif = image_file(
        "GIF", save_all=True, append_images=[Pillow.new("RGB", (64, 48))], duration=100
    )
    pages: dict[str, bytes | Respond] = {
        "/a.png": image_file(),
        "/a b/ä.png": image_file(),
        "/a%20b/%C3%A4.png": image_file(),
        "/video": video.read_bytes(),
        "/wrong.jpg": video.read_bytes(),
        "/wrong.mp4": image_file(),
        "/a.gif": gif,
        "/private.png": with_password(image_file(), "me", "p@ss:word"),
        "/private.mp4": with_password(video.read_bytes(), "me", "p@ss:word"),
        "/moved": redirect("/a.png"),
        "/private-moved": redirect("/private.png"),
        "/file": redirect("file:///etc/hostname"),
        "/ftp": redirect("ftp://127.0.0.1/a.png"),
        "/loop": redirect("/loop"),
        "/chain": redirect("/chain1"),
        **{f"/chain{n}": redirect(f"/chain{n + 1}") for n in range(1, 9)},
        "/page.png": lambda handler: respond(handler, b"<html></html>", Content_Type="text/html"),
        "/empty.png": b"",
        "/cut.png": lambda handler: respond(handler, image_file()[:-20], length=len(image_file())),
        "/cut.mp4": lambda handler: respond(handler, video.read_bytes()[:-20], length=10**6),
        "/huge.png": lambda handler: respond(handler, image_file(), length=10**12),
        "/endless.png": endless,
        "/drip.png": drip,
        "/drip-header.png": drip_header,
        "/silent.png": lambda _: time.sleep(3),
        "/error.png": lambda handler: handler.send_error(500, "broken\x07"),
        "/camera": motion_jpeg,
    }
    with http_server(pages) as address:
        yield address


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (remote, capture, video_reader):
        monkeypatch.setattr(module, "TIMEOUT", 1.0)
    monkeypatch.setattr(remote, "DOWNLOAD_SECONDS", 1.5)
    monkeypatch.setattr(remote, "MAX_IMAGE_SIZE", 2**22)


def frames_of(address: str) -> list[Frame]:
    return list(read_frames(list_sources([address], StringIO())[0]))


@pytest.mark.parametrize("page", ["a.png", "a%20b/%C3%A4.png?x=1", "moved", "wrong.mp4"])
def test_an_image_is_downloaded(server: str, page: str) -> None:
    (frame,) = frames_of(f"http://{server}/{page}")
    assert (frame.image.shape, frame.image[0, 0].tolist()) == ((48, 64, 3), [255, 0, 0])
    assert frame.index is None


def test_a_video_is_downloaded(server: str, video: Path) -> None:
    times, images = read_video(video)
    frames = frames_of(f"http://{server}/video?id=1")
    assert [frame.time for frame in frames] == pytest.approx(times)
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.image, image[..., ::-1])


def test_an_animation_is_downloaded(server: str) -> None:
    assert [frame.time for frame in frames_of(f"http://{server}/a.gif")] == [0, 0.1]


def test_a_stream_of_a_web_camera_is_read(server: str) -> None:
    frames = frames_of(f"http://{server}/camera")
    assert len(frames) == 5
    assert frames[0].image.shape == (48, 64, 3)


@pytest.mark.parametrize(("page", "count"), [("private.png", 1), ("private.mp4", 8)])
def test_user_name_and_password_are_sent(server: str, page: str, count: int) -> None:
    assert len(frames_of(f"http://me:p%40ss%3Aword@{server}/{page}")) == count
    with pytest.raises(InputError, match=rf"^http://{server}/{page}: .*status 401") as error:
        frames_of(f"http://me:secret@{server}/{page}")
    assert "secret" not in str(error.value)


def test_a_password_is_not_sent_to_where_a_request_is_redirected(server: str) -> None:
    with pytest.raises(InputError, match="status 401"):
        frames_of(f"http://me:p%40ss%3Aword@{server}/private-moved")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("missing.png", r"status 404 \(Not Found\)"),
        ("error.png", r"status 500"),
        ("file", "a redirect that is not followed"),
        ("ftp", "a redirect that is not followed"),
        ("loop", "a redirect that is not followed"),
        ("chain", "a redirect that is not followed"),
        ("page.png", "neither an image nor a video"),
        ("empty.png", "neither an image nor a video"),
        ("wrong.jpg", "is not an image, although its extension is that of one"),
        ("cut.png", "the connection was interrupted"),
        ("cut.mp4", "the connection was interrupted"),
        ("huge.png", "larger than 4 MiB"),
        ("endless.png", "larger than 4 MiB"),
        ("drip.png", "no data within 1 s, or not within the time limit"),
        ("drip-header.png", "no data within 1 s, or not within the time limit"),
        ("silent.png", "no data within 1 s"),
    ],
)
def test_a_download_that_fails_is_an_error_of_one_line(
    server: str, page: str, message: str
) -> None:
    with pytest.raises(InputError, match=rf"^http://{server}/{page}: .*{message}") as error:
        frames_of(f"http://{server}/{page}")
    assert str(error.value).isprintable()


def test_a_server_that_cannot_be_reached_is_an_error_of_one_line() -> None:
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:1/a\.png: .*refused"):
        frames_of("http://127.0.0.1:1/a.png")


def test_a_camera_stream_is_read(transport_stream: bytes) -> None:
    with rtsp_server(transport_stream) as port:
        frames = frames_of(f"rtsp://127.0.0.1:{port}/live")
    assert len(frames) > 30
    assert frames[0].image.shape == (240, 320, 3)
    assert [frame.index for frame in frames] == [*range(len(frames))]


def test_a_camera_stream_needs_the_password(
    transport_stream: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with rtsp_server(transport_stream, password="secret") as port:
        assert len(frames_of(f"rtsp://me:secret@127.0.0.1:{port}/live")) > 30
    with rtsp_server(transport_stream, password="secret") as port:
        address = f"127.0.0.1:{port}/live"
        with pytest.raises(InputError, match=f"^rtsp://{address}: no video.*the password") as error:
            frames_of(f"rtsp://me:wrong@{address}")
    assert "wrong" not in str(error.value) + capfd.readouterr().err


@pytest.mark.slow
def test_a_camera_stream_that_stops_is_an_error(transport_stream: bytes) -> None:
    with rtsp_server(transport_stream, hold=60) as port:
        frames = []
        with pytest.raises(InputError, match=r"/live: no frame was received within 1 s"):
            for frame in read_frames(
                list_sources([f"rtsp://127.0.0.1:{port}/live"], StringIO())[0]
            ):
                frames.append(frame)
    assert len(frames) > 10


def test_a_camera_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(InputError, match=r"^rtsp://127\.0\.0\.1:1/x: no video can be read"):
        frames_of("rtsp://me:secret@127.0.0.1:1/x")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(InputError, match=r"no video can be read from it within 1 s"):
            frames_of(address)


def test_predict_writes_no_password(
    server: str, tmp_path: Path, small_model: ModelFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    addresses = [f"http://me:p%40ss%3Aword@{server}/private.png?token=abc", "rtsp://me:abc@[::1]:1"]
    with pytest.raises(SystemExit) as exit_info:
        main(["predict", *addresses, "--model", str(small_model.onnx), "--out", str(out)])
    assert exit_info.value.code == 3
    output = "".join(capfd.readouterr())
    for path in out.rglob("*"):
        output += path.name + path.read_bytes().decode(errors="replace")
    assert "private-" in output
    assert not any(secret in output for secret in ("p%40ss", "p@ss", "abc"))
