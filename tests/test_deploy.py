"""The programs in docs/howto/onnx.md find the same people as `predict`, in each ONNX runtime."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import Image
from higherhrnet.cli.export import export
from higherhrnet.cli.options import SettingsOptions
from higherhrnet.graph.export import read_network
from higherhrnet.io.images import read_image
from tests.browser import CHROMIUM, FLAGS, NODE_MODULES, needs_chromium, needs_npm_packages, serving
from tests.conftest import BuildOnce

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "howto" / "onnx.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(js|html)\n(.*?)^```$", PAGE, re.M | re.S))
pytestmark = [pytest.mark.slow, needs_npm_packages]


def variants(image: Image) -> Iterator[Image]:
    """Ten images of different sizes and proportions of the same two people."""
    height, width = image.shape[:2]
    yield image
    yield np.ascontiguousarray(image[:, ::-1])
    for factor in (0.37, 0.8, 1.7):
        yield np.asarray(cv2.resize(image, None, fx=factor, fy=factor), np.uint8)
    yield image[: height * 3 // 4]
    yield image[:, width // 4 :]
    yield np.pad(image, ((0, 0), (200, 500), (0, 0)))
    yield np.pad(image, ((300, 300), (0, 0), (0, 0)), mode="edge")
    yield np.asarray(cv2.GaussianBlur(image, (5, 5), 0) // 2, np.uint8)


@pytest.fixture(scope="module")
def folder(build_once: BuildOnce) -> Path:
    """The exported file, ten images, and the programs of the documentation."""
    return build_once("deploy", _write_folder)


def _write_folder(folder: Path) -> None:
    out = folder / "people.onnx"
    assert export("default", out, decode=True, settings=SettingsOptions(fast=True)) == 0
    for index, image in enumerate(variants(read_image(ROOT / "examples" / "basketball1.png"))):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(folder / f"{index}.png"), bgr)
    (folder / "people.mjs").write_text(BLOCKS["js"], encoding="utf-8")
    (folder / "index.html").write_text(BLOCKS["html"], encoding="utf-8")
    (folder / "node_modules").symlink_to(NODE_MODULES)
    (folder / "ort").symlink_to(NODE_MODULES / "onnxruntime-web" / "dist")


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[Poses]:
    """The people that the predictor finds with the settings of the exported file."""
    config = read_network(folder / "people.onnx")[1].inference
    predictor = Predictor.load(engine="onnxruntime", config=config)
    found = predictor(images_of(folder))
    assert sum(map(len, found)) >= 15
    return found


def images_of(folder: Path) -> list[Path]:
    images = sorted(folder.glob("*.png"))
    assert len(images) == 10
    return images


def assert_same_people(results: list[dict[str, Any]], expected: list[Poses]) -> None:
    """Asserts that the JSON of a program has the people of the predictor."""
    assert len(results) == len(expected)
    distances = []
    for result, poses in zip(results, expected, strict=True):
        keypoints = np.array(result["keypoints"]).reshape(-1, 17, 3)
        assert len(keypoints) == len(result["scores"]) == len(poses)
        np.testing.assert_allclose(result["scores"], poses.scores, atol=1e-3)
        distances += np.abs(keypoints[..., :2] - poses.keypoints).max(-1).ravel().tolist()
    # A keypoint may move by a pixel of the heatmap where rounding decides between two.
    assert (np.array(distances) < 0.01).mean() > 0.98


def test_node_finds_the_same_people(folder: Path, expected: list[Poses]) -> None:
    command = ["node", "people.mjs", *(image.name for image in images_of(folder))]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert_same_people([json.loads(line) for line in process.stdout.splitlines()], expected)


@needs_chromium
def test_a_web_page_finds_the_same_people_and_loads_nothing_from_elsewhere(
    folder: Path, expected: list[Poses]
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    requested: list[str] = []
    results = []
    with serving(folder) as server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.on("request", lambda request: requested.append(request.url))
        page.goto(server)
        page.wait_for_function("document.getElementById('file').onchange !== null")
        for image in images_of(folder):
            page.evaluate("document.getElementById('people').textContent = ''")
            page.set_input_files("#file", image)
            page.wait_for_function("document.getElementById('people').textContent")
            results.append(json.loads(page.inner_text("#people")))
        browser.close()
    assert all(url.startswith((server, "blob:", "data:")) for url in requested), requested
    assert any(url.endswith(".wasm") for url in requested)
    assert_same_people(results, expected)
