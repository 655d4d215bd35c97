"""A published model is downloaded and converted when it is used, without torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from higherhrnet.errors import InputError
from higherhrnet.graph.export import export_onnx
from higherhrnet.inference.predictor import Predictor
from higherhrnet.io.images import read_image, write_image
from higherhrnet.io.weights import read_weights
from higherhrnet.network.checkpoint import to_arrays
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.check_links import check_links
from higherhrnet.zoo.convert import convert_weights
from higherhrnet.zoo.fetch import fetch_model
from higherhrnet.zoo.published import PUBLISHED
from higherhrnet.zoo.published_model import PublishedModel
from higherhrnet.zoo.resolve import resolve_model
from tests.conftest import HIDE_PACKAGES, RunMain
from tests.zoo.conftest import CONTENT, Server


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache."""
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def network(num_keypoints: int = 17) -> HigherHRNet:
    """An untrained network of the paper's depth whose heatmaps have peaks above the threshold."""
    torch.manual_seed(0)
    model = HigherHRNet(4, num_keypoints).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    with torch.no_grad():
        for final, maps in zip(model.final_layers, model(torch.randn(1, 3, 64, 64)), strict=True):
            final.weight /= 4 * maps[:, :num_keypoints].std()
    return model


def authors_stream(model: HigherHRNet) -> bytes:
    """A file as the authors published it: the format before torch 1.6."""
    file = BytesIO()
    torch.save(model.state_dict(), file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def authors_zip(model: HigherHRNet) -> bytes:
    """A checkpoint of the authors' training in half precision, in the current format."""
    file = BytesIO()
    state = {f"module.1.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 300, "state_dict": state}, file)
    return file.getvalue()


def mmpose(model: HigherHRNet) -> bytes:
    """A file with MMPose's names."""
    file = BytesIO()
    heads = ("final_layers.", "deconv_layers.")
    state = {
        ("keypoint_head." if name.startswith(heads) else "backbone.") + name: tensor
        for name, tensor in model.state_dict().items()
    }
    torch.save({"meta": {"mmpose_version": "0.29.0"}, "state_dict": state}, file)
    return file.getvalue()


def publish(server: Server, content: bytes, skeleton: str = "coco") -> PublishedModel:
    """Lets the server offer a file; returns its entry."""
    server.content = content
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return PublishedModel(
        "tiny", server.url, "http://page.test", "authors", 4, "MIT", 64, skeleton,
        size=len(content), digest=digest,
    )  # fmt: skip


COMMAND = (
    HIDE_PACKAGES.format(names=["torch"])
    + """
from higherhrnet.zoo import published
published.PUBLISHED += (published.PublishedModel(*{entry!r}),)
from higherhrnet.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
)


@pytest.mark.parametrize(
    ("write", "skeleton"),
    [
        (authors_stream, "coco"),
        pytest.param(authors_zip, "coco", marks=pytest.mark.slow),
        pytest.param(mmpose, "coco", marks=pytest.mark.slow),
        pytest.param(authors_stream, "crowdpose", marks=pytest.mark.slow),
    ],
)
def test_one_command_downloads_converts_and_predicts_without_torch(
    write: Callable[[HigherHRNet], bytes], skeleton: str, server: Server, tmp_path: Path
) -> None:
    model = network(17 if skeleton == "coco" else 14)
    entry = publish(server, write(model), skeleton)
    write_image(tmp_path / "a.png", draw_scene(0, height=96, width=128, people=(2, 2)).image)
    code = COMMAND.format(entry=tuple(vars(entry).values()))
    arguments = ["predict", "a.png", "--model", "tiny", "--out", "out", "--engine", "onnxruntime"]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Downloading tiny: " in result.stderr and "license MIT" in result.stderr
    assert read_image(tmp_path / "out" / "a_poses.jpg").shape == (96, 128, 3)

    (tmp_path / "local.pth").write_bytes(write(model))
    weights, header = convert_weights(tmp_path / "local.pth", input_size=64)
    assert all(np.array_equal(weights[name], w) for name, w in to_arrays(model).items())
    export_onnx(tmp_path / "local.onnx", weights, header)
    poses = Predictor.load(tmp_path / "local.onnx", engine="onnxruntime")(tmp_path / "a.png")
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(predictions) == len(poses) > 0
    for prediction, keypoints in zip(predictions, poses.keypoints, strict=True):
        xy = np.reshape(prediction["keypoints"], (-1, 3))[:, :2]
        np.testing.assert_allclose(xy, keypoints, atol=0.01)


def test_a_model_is_downloaded_once_and_the_original_file_is_deleted(
    server: Server, cache: Path
) -> None:
    model = network()
    entry = publish(server, authors_stream(model))
    path = fetch_model(entry)
    weights, header = read_weights(path)
    assert all(np.array_equal(weights[name], w) for name, w in to_arrays(model).items())
    assert header.input.size == 64
    assert fetch_model(entry) == path == cache / "tiny.safetensors"
    assert not list(cache.glob("*.pth")) + list(cache.glob("*.part"))
    assert len(server.ranges) == 1


def test_concurrent_requests_download_a_model_once(server: Server) -> None:
    entry = publish(server, authors_stream(network()))
    with ThreadPoolExecutor(4) as executor:
        paths = set(executor.map(fetch_model, [entry] * 4))
    assert len(paths) == 1
    assert len(server.ranges) == 1


def test_an_interrupted_download_is_resumed(server: Server) -> None:
    entry = publish(server, authors_stream(network()))
    server.interruptions = [100_000]
    fetch_model(entry)
    assert server.ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize("value", ["1", "true"])
def test_downloads_can_be_forbidden(
    value: str, server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    entry = publish(server, authors_stream(network()))
    monkeypatch.setenv("HIGHERHRNET_OFFLINE", value)
    with pytest.raises(InputError, match="HIGHERHRNET_OFFLINE forbids") as error:
        fetch_model(entry)
    assert str(cache / "tiny.pth") in str(error.value)
    assert server.ranges == []
    cache.mkdir(exist_ok=True)
    (cache / "tiny.pth").write_bytes(server.content)  # as the message advises
    assert fetch_model(entry).is_file()


def test_a_file_of_another_network_is_reported_with_its_address(server: Server) -> None:
    file = BytesIO()
    torch.save({"fc.weight": torch.zeros(2, 2)}, file)
    entry = publish(server, file.getvalue())
    with pytest.raises(InputError, match=r"not the weights of a HigherHRNet.*/weights\.pth"):
        fetch_model(entry)


def test_a_web_page_is_rejected(server: Server) -> None:
    entry = publish(server, b"<html>")
    server.content_type = "text/html"
    with pytest.raises(InputError, match="a web page instead of the file"):
        fetch_model(entry)


def test_a_cache_that_cannot_be_written_is_reported(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="set HIGHERHRNET_CACHE to another folder"):
        fetch_model(publish(server, authors_stream(network())))


def test_a_converted_file_that_cannot_be_written_is_reported_with_the_way_out(
    server: Server, cache: Path
) -> None:
    (cache / "tiny.safetensors").mkdir(parents=True)  # permissions do not apply to root
    with pytest.raises(InputError, match=r"cannot be written.*set HIGHERHRNET_CACHE to another"):
        fetch_model(publish(server, authors_stream(network())))


def test_a_backbone_is_no_model_for_prediction() -> None:
    with pytest.raises(InputError, match="--init imagenet-w32"):
        resolve_model("imagenet-w32")


def test_a_model_in_the_cache_needs_no_network(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = publish(server, authors_stream(network()))
    monkeypatch.setattr("higherhrnet.zoo.published.PUBLISHED", (entry,))
    path = resolve_model("tiny")
    monkeypatch.setenv("HIGHERHRNET_OFFLINE", "1")
    assert resolve_model("tiny") == path


def test_links_are_checked_by_status_type_and_size(server: Server) -> None:
    good = publish(server, b"x" * 1000)

    def problem(model: PublishedModel) -> str | None:
        ((_, reason),) = check_links([model])
        return reason

    assert problem(good) is None
    server.statuses = [404]
    assert problem(good) == "404 Not Found"
    server.content = b"x" * 999
    assert problem(good) == "999 bytes instead of 1000"
    server.content_type = "text/html"
    assert problem(good) == "a web page instead of the file"
    assert "refused" in (problem(replace(good, url="http://127.0.0.1:9/a")) or "")


def test_the_files_of_all_models_are_requested_from_a_mirror(
    server: Server, monkeypatch: pytest.MonkeyPatch, run_main: RunMain
) -> None:
    mirror = f"http://127.0.0.1:{server.server_port}/weights"
    monkeypatch.setenv("HIGHERHRNET_MIRROR", mirror)
    process = run_main("models", "--check")
    assert process.returncode == 1
    assert server.ranges == ["bytes=0-0"] * len(PUBLISHED)
    for model, line in zip(PUBLISHED, process.stdout.splitlines(), strict=True):
        wrong_size = f"{len(CONTENT)} bytes instead of {model.size}"
        status = wrong_size if model.size else "available"
        assert line == f"{model.name:26}{status}, {mirror}/{model.name}.pth"


def test_a_backbone_is_downloaded_without_conversion(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, run_main: RunMain
) -> None:
    monkeypatch.setenv("HIGHERHRNET_MIRROR", f"http://127.0.0.1:{server.server_port}/weights")
    server.files = {"/weights/imagenet-w18.pth": CONTENT}
    server.content = b"another file"
    process = run_main("download", "imagenet-w18")
    assert process.returncode == 0, process.stderr
    path = cache / "imagenet-w18.pth"
    assert path.read_bytes() == CONTENT
    assert process.stdout.startswith(f"{path}: a backbone without heads, from https://")
    assert "--init imagenet-w18" in process.stdout
