"""Downloads from a real server on this machine: what arrives, what is asked for, what is said."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from higherhrnet.errors import InputError
from higherhrnet.io.cache import cache_folder
from higherhrnet.zoo import download as module
from higherhrnet.zoo.download import download_model
from higherhrnet.zoo.published import PublishedModel

CONTENT = b"PK\x03\x04" + np.random.default_rng(0).bytes(3 * module.BLOCK)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHA384 = hashlib.sha384(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path, with whatever fault a test asks for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.content_type = "application/octet-stream"
        self.statuses: list[int] = []  # of the next answers, instead of a file
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.resumes = True
        self.gives_length = True
        self.may_answer = Event()
        self.may_answer.set()
        self.asked: list[str | None] = []  # the Range header of every request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        server.may_answer.wait(10)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        start = start if server.resumes else 0
        if server.statuses or start >= len(server.content):
            self.send_error(server.statuses.pop(0) if server.statuses else 416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", server.content_type)
        if server.gives_length:
            self.send_header("Content-Length", str(len(body)))
        if start:
            whole = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "PAUSE", 0)
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()


def weights(server: Server, digest: str | None = None, size: int | None = None) -> PublishedModel:
    return PublishedModel(
        "tiny", server.url, "http://page.test", "authors", 8, "MIT", digest=digest, size=size
    )


@pytest.mark.parametrize(
    ("digest", "size"),
    [
        (f"sha256:{SHA256}", len(CONTENT)),
        (f"sha384:{SHA384}", None),
        (f"sha256:{SHA256[:8]}", None),  # as MMPose's file names have it
        (None, len(CONTENT)),
        (None, None),
    ],
)
def test_file_arrives_whole(
    server: Server, tmp_path: Path, digest: str | None, size: int | None
) -> None:
    path = download_model(weights(server, digest, size), tmp_path / "not" / "yet there")
    assert path == tmp_path / "not" / "yet there" / "tiny.pth"
    assert path.read_bytes() == CONTENT
    assert not path.with_name("tiny.part").exists()
    assert server.asked == [None]


def test_what_is_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    model = weights(server, f"sha256:{SHA256}")
    first = download_model(model, tmp_path)
    assert download_model(model, tmp_path) == first
    assert len(server.asked) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.pth").write_bytes(CONTENT[:-1] + b"?")
    assert download_model(weights(server, f"sha256:{SHA256}"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("digest", "size", "expected", "found"),
    [
        ("sha256:" + "0" * 64, None, "0" * 64, SHA256),
        ("sha256:01234567", None, "01234567", SHA256[:8]),
        (None, 12, "12 bytes", str(len(CONTENT))),
    ],
)
def test_wrong_file_is_removed_and_both_digests_are_said(
    server: Server, tmp_path: Path, digest: str | None, size: int | None, expected: str, found: str
) -> None:
    with pytest.raises(InputError, match=f"expected .*{expected}, found {found}"):
        download_model(weights(server, digest, size), tmp_path)
    assert not list(tmp_path.glob("tiny.p*"))


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02\x8a\x0a"])
def test_without_a_digest_torch_files_of_both_kinds_are_taken(
    server: Server, tmp_path: Path, start: bytes
) -> None:
    server.content = start + bytes(100)
    assert download_model(weights(server), tmp_path).read_bytes() == server.content


def test_without_a_digest_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    server.content = b"\x1f\x8b" + bytes(100)
    with pytest.raises(InputError, match="a file that torch saved"):
        download_model(weights(server), tmp_path)
    assert not list(tmp_path.glob("tiny.p*"))


def test_a_cut_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    path = download_model(weights(server, f"sha256:{SHA256}"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_the_next_command_resumes_what_this_one_could_not_finish(
    server: Server, tmp_path: Path
) -> None:
    model = weights(server, f"sha256:{SHA256}")
    server.cuts = [1000] * module.ATTEMPTS
    with pytest.raises(InputError, match="same command again to resume"):
        download_model(model, tmp_path)
    kept = (tmp_path / "tiny.part").read_bytes()
    assert kept == CONTENT[: 1000 * module.ATTEMPTS]

    server.asked.clear()
    assert download_model(model, tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(kept)}-"]


def test_a_server_that_cannot_resume_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.resumes = False
    server.cuts = [100_000]
    path = download_model(weights(server, f"sha256:{SHA256}"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def test_a_part_longer_than_the_file_is_begun_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.part").write_bytes(CONTENT + b"more")
    path = download_model(weights(server, f"sha256:{SHA256}"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_part_of_another_file_does_not_pass(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.part").write_bytes(b"PK\x03\x04 of yesterday")
    with pytest.raises(InputError, match="not the file that was published"):
        download_model(weights(server, f"sha256:{SHA256}"), tmp_path)
    assert download_model(weights(server, f"sha256:{SHA256}"), tmp_path).read_bytes() == CONTENT


def test_a_cut_is_seen_by_the_size_where_the_server_gives_none(
    server: Server, tmp_path: Path
) -> None:
    server.gives_length = False
    server.cuts = [100_000]
    path = download_model(weights(server, size=len(CONTENT)), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert download_model(weights(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_is_gone(server: Server, tmp_path: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(InputError, match=rf"weights.pth: {status} .*http://page.test.* convert"):
        download_model(weights(server), tmp_path)
    assert len(server.asked) == 1


def test_a_web_page_instead_of_the_file(server: Server, tmp_path: Path) -> None:
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(InputError, match=r"web page.*http://page.test.* convert"):
        download_model(weights(server), tmp_path)
    assert not list(tmp_path.glob("tiny.p*"))


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    model = weights(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=r"connection failed .* same command again"):
        download_model(model, tmp_path)


def test_only_the_web_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    model = PublishedModel("tiny", secret.as_uri(), "http://page.test", "authors", 8, "MIT")
    with pytest.raises(InputError, match="only http"):
        download_model(model, tmp_path)


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # permissions would not stop root, a file in the way does
    with pytest.raises(InputError, match=r"file/cache: .*HIGHERHRNET_CACHE"):
        download_model(weights(server), tmp_path / "file" / "cache")
    assert server.asked == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"No space left.*HIGHERHRNET_CACHE"):
        download_model(weights(server), tmp_path)


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.may_answer.clear()
    model = weights(server, f"sha256:{SHA256}")
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(download_model, model, tmp_path) for _ in range(2)]
        wait(both, timeout=0.2)  # time enough for the second to ask as well, if it would
        server.may_answer.set()
        paths = {one.result() for one in both}
    assert paths == {tmp_path / "tiny.pth"}
    assert (tmp_path / "tiny.pth").read_bytes() == CONTENT
    assert server.asked == [None]


def test_nothing_is_drawn_where_there_is_no_terminal(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    download_model(weights(server), tmp_path, progress=True)
    assert capfd.readouterr() == ("", "")


def test_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HIGHERHRNET_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "higherhrnet"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "higherhrnet"
    monkeypatch.setenv("HIGHERHRNET_CACHE", "~/weights")
    assert cache_folder() == tmp_path / "weights"


def test_the_cache_folder_is_where_downloads_go(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "own"))
    assert download_model(weights(server)) == tmp_path / "own" / "tiny.pth"
