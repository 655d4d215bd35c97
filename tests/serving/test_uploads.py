"""The files of a request are received within bounds, and none is decoded."""

import asyncio
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fastapi import HTTPException, Request

from higherhrnet.io.images import encode_image, read_image
from higherhrnet.serving.limits import ServingLimits
from higherhrnet.serving.uploads import receive_images
from tests.serving.conftest import SCENE
from tests.serving.test_responses import form

BLACK_JPEG = encode_image(np.zeros((32, 32, 3), np.uint8), ".jpg")


def receive(
    content_type: str, body: bytes, limits: ServingLimits = ServingLimits(), max_images: int = 1
) -> list[bytes]:
    """What is received of a body that arrives in chunks of 64 KB."""
    chunks = iter([body[start : start + 65_536] for start in range(0, len(body), 65_536)])

    async def next_event() -> dict[str, object]:
        chunk = next(chunks, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    headers = [(b"content-type", content_type.encode())]
    request = Request({"type": "http", "headers": headers}, next_event)
    return asyncio.run(receive_images(request, limits, max_images)).images


def test_data_after_a_jpeg_does_not_count_as_scans() -> None:
    """Phones append videos and depth maps, which contain the marker's two bytes by chance."""
    appended = np.random.default_rng(0).bytes(16_000_000)
    assert appended.count(b"\xff\xda") > 200
    (data,) = receive("image/jpeg", BLACK_JPEG + appended)
    assert np.array_equal(read_image(io.BytesIO(data)), np.zeros((32, 32, 3), np.uint8))


def test_forms_are_not_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    files = [BLACK_JPEG + bytes(size) for size in (5_000_000, 0, 3_000_000)]
    body, content_type = form(*files)
    assert receive(content_type, body, max_images=3) == files


def test_files_of_a_form_need_no_file_name() -> None:
    files = [SCENE[:8] + bytes(range(256)), BLACK_JPEG]
    body, content_type = form(*files)
    assert receive(content_type, body.replace(b'; filename="a.png"', b""), max_images=2) == files


def test_a_form_without_content_length_is_bounded() -> None:
    body, content_type = form(BLACK_JPEG + bytes(2_000_000))
    with pytest.raises(HTTPException) as error:
        receive(content_type, body, ServingLimits(max_megabytes=2))
    assert error.value.status_code == 413
