"""Downloads from a local HTTP server are verified, resumed, or rejected with a hint."""

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from io import StringIO
from pathlib import Path
from time import monotonic, sleep

import pytest
from filelock import FileLock

from higherhrnet.errors import InputError
from higherhrnet.io.cache import cache_folder
from higherhrnet.zoo.download import ATTEMPTS, download_model
from higherhrnet.zoo.published_model import PublishedModel
from tests.zoo.conftest import CONTENT, Server

SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHA384 = hashlib.sha384(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path))


class Terminal(StringIO):
    """A terminal that keeps what is written."""

    def isatty(self) -> bool:
        return True

    def wait_for(self, text: str) -> None:
        """Waits until a text has been written."""
        deadline = monotonic() + 30
        while text not in self.getvalue():
            assert monotonic() < deadline, self.getvalue()
            sleep(0.01)


def tiny_model(
    server: Server, digest: str | None = None, size: int | None = None
) -> PublishedModel:
    return PublishedModel(
        "tiny", server.url, "http://page.test", "authors", 8, "MIT", digest=digest, size=size
    )


@pytest.mark.parametrize(
    ("digest", "size"),
    [
        (f"sha256:{SHA256}", len(CONTENT)),
        (f"sha384:{SHA384}", None),
        (f"sha256:{SHA256[:8]}", None),  # as in MMPose's file names
        (None, len(CONTENT)),
        (None, None),
    ],
)
def test_the_file_is_downloaded_into_a_new_folder(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    digest: str | None,
    size: int | None,
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "new" / "folder"))
    path = download_model(tiny_model(server, digest, size))
    assert path == tmp_path / "new" / "folder" / "tiny.pth"
    assert path.read_bytes() == CONTENT
    assert not path.with_name("tiny.part").exists()
    assert server.ranges == [None]


def test_an_existing_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    model = tiny_model(server, f"sha256:{SHA256}")
    first = download_model(model)
    assert download_model(model) == first
    assert len(server.ranges) == 1


def test_a_damaged_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.pth").write_bytes(CONTENT[:-1] + b"?")
    assert download_model(tiny_model(server, f"sha256:{SHA256}")).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("digest", "size", "expected", "found"),
    [
        ("sha256:" + "0" * 64, None, "0" * 64, SHA256),
        ("sha256:01234567", None, "01234567", SHA256[:8]),
        (None, 12, "12 bytes", str(len(CONTENT))),
    ],
)
def test_a_wrong_file_is_removed_and_reported_with_both_digests(
    server: Server, tmp_path: Path, digest: str | None, size: int | None, expected: str, found: str
) -> None:
    with pytest.raises(InputError, match=f"expected .*{expected}, found {found}"):
        download_model(tiny_model(server, digest, size))
    assert not list(tmp_path.glob("tiny.p*"))


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02\x8a\x0a"])
def test_without_a_digest_both_formats_of_torch_are_accepted(
    server: Server, tmp_path: Path, start: bytes
) -> None:
    server.content = start + bytes(100)
    assert download_model(tiny_model(server)).read_bytes() == server.content


def test_without_a_digest_other_formats_are_rejected(server: Server, tmp_path: Path) -> None:
    server.content = b"\x1f\x8b" + bytes(100)
    with pytest.raises(InputError, match=r"a file of torch\.save"):
        download_model(tiny_model(server))
    assert not list(tmp_path.glob("tiny.p*"))


def test_an_interrupted_download_is_resumed(server: Server, tmp_path: Path) -> None:
    server.interruptions = [100_000, 50_000]
    path = download_model(tiny_model(server, f"sha256:{SHA256}"))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_failed_download_is_resumed_by_the_next_call(server: Server, tmp_path: Path) -> None:
    model = tiny_model(server, f"sha256:{SHA256}")
    server.interruptions = [1000] * ATTEMPTS
    with pytest.raises(InputError, match="same command again to resume"):
        download_model(model)
    kept = (tmp_path / "tiny.part").read_bytes()
    assert kept == CONTENT[: 1000 * ATTEMPTS]

    server.ranges.clear()
    assert download_model(model).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(kept)}-"]


def test_a_server_without_ranges_sends_the_complete_file_again(
    server: Server, tmp_path: Path
) -> None:
    server.supports_range = False
    server.interruptions = [100_000]
    path = download_model(tiny_model(server, f"sha256:{SHA256}"))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_a_part_longer_than_the_file_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.part").write_bytes(CONTENT + b"more")
    path = download_model(tiny_model(server, f"sha256:{SHA256}"))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_part_of_another_file_is_removed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.part").write_bytes(b"PK\x03\x04 of yesterday")
    with pytest.raises(InputError, match="removed, since it is not the published one"):
        download_model(tiny_model(server, f"sha256:{SHA256}"))
    assert download_model(tiny_model(server, f"sha256:{SHA256}")).read_bytes() == CONTENT


def test_an_interruption_without_content_length_is_detected_by_the_published_size(
    server: Server, tmp_path: Path
) -> None:
    server.sends_length = False
    server.interruptions = [100_000]
    path = download_model(tiny_model(server, size=len(CONTENT)))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_a_busy_server_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert download_model(tiny_model(server)).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_a_missing_file_is_reported_with_the_page_of_the_model(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.statuses = [status]
    with pytest.raises(InputError, match=rf"weights.pth: {status} .*http://page.test.* convert"):
        download_model(tiny_model(server))
    assert len(server.ranges) == 1


def test_a_web_page_instead_of_the_file_is_rejected(server: Server, tmp_path: Path) -> None:
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(InputError, match=r"web page.*http://page.test.* convert"):
        download_model(tiny_model(server))
    assert not list(tmp_path.glob("tiny.p*"))


def test_an_unreachable_server_is_reported(server: Server, tmp_path: Path) -> None:
    model = tiny_model(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=r"connection failed .* same command again .*/tiny\.pth$"):
        download_model(model)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_mirror_replaces_the_published_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slash: str
) -> None:
    folder = f"http://127.0.0.1:{server.server_port}/weights"
    model = replace(tiny_model(server, f"sha256:{SHA256}"), url="http://127.0.0.1:9/none.pth")
    server.files = {"/weights/tiny.pth": CONTENT}
    server.content = b"another file"
    monkeypatch.setenv("HIGHERHRNET_MIRROR", folder + slash)
    assert download_model(model).read_bytes() == CONTENT
    server.files = {"/weights/tiny.pth": CONTENT[:-1] + b"?"}
    (tmp_path / "tiny.pth").unlink()
    with pytest.raises(InputError, match=rf"^{folder}/tiny\.pth: .* not the published one"):
        download_model(model)


def test_only_http_is_supported(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    model = PublishedModel("tiny", secret.as_uri(), "http://page.test", "authors", 8, "MIT")
    with pytest.raises(InputError, match="only http"):
        download_model(model)


def test_a_folder_that_cannot_be_created_is_reported(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()  # permissions do not apply to root
    with pytest.raises(InputError, match=r"file/cache: .*HIGHERHRNET_CACHE"):
        download_model(tiny_model(server))
    assert server.ranges == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_reported(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"No space left.*HIGHERHRNET_CACHE"):
        download_model(tiny_model(server))


def test_concurrent_calls_download_once(server: Server, tmp_path: Path) -> None:
    server.may_respond.clear()
    model = tiny_model(server, f"sha256:{SHA256}")
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(download_model, model) for _ in range(2)]
        wait(calls, timeout=0.2)  # enough for a second request
        server.may_respond.set()
        paths = {call.result() for call in calls}
    assert paths == {tmp_path / "tiny.pth"}
    assert (tmp_path / "tiny.pth").read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_process_that_waits_for_another_names_the_file_and_shows_its_progress(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("higherhrnet.zoo.download.WAIT", 0.01)
    part = tmp_path / "tiny.part"
    model = replace(tiny_model(server, f"sha256:{SHA256}"), size=len(CONTENT))
    with ThreadPoolExecutor() as pool:
        with FileLock(tmp_path / "tiny.lock"):  # the other process
            part.write_bytes(CONTENT[: len(CONTENT) // 2])
            call = pool.submit(download_model, model)
            terminal.wait_for(" 50%")
            part.rename(tmp_path / "tiny.pth")
            (tmp_path / "tiny.pth").write_bytes(CONTENT)
        assert call.result() == tmp_path / "tiny.pth"
    assert terminal.getvalue().count("Waiting for another process") == 1
    assert f"tiny ({part})" in terminal.getvalue()
    assert server.ranges == []


def test_no_progress_bar_is_shown_without_a_terminal(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    download_model(tiny_model(server))
    line = f"Downloading tiny: license MIT, from 127.0.0.1:{server.server_port}\n"
    assert capfd.readouterr() == ("", line)


def test_the_environment_determines_the_cache_folder(
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
