"""The page in a real browser: what people do, and what they then see and get.

SCREENSHOTS=folder in the environment keeps pictures of it to look at.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from higherhrnet.arrays import Image
from higherhrnet.io.images import encode_image, read_image
from tests.serving.conftest import EXAMPLES, SCENE, Service, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

    Open = Callable[..., Page]

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium"
)
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser takes for its camera: the scene, standing still."""
    path = tmp_path_factory.mktemp("camera") / "scene.y4m"
    height, width = 256, 384
    planes = cv2.cvtColor(read_image(io.BytesIO(SCENE)), cv2.COLOR_RGB2YUV_I420)
    frame = b"FRAME\n" + planes.tobytes()
    path.write_bytes(b"YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n" % (width, height) + 10 * frame)
    return path


@pytest.fixture(scope="module")
def browser(footage: Path) -> Iterator[Browser]:
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags = ["--no-sandbox", *camera, f"--use-file-for-fake-video-capture={footage}"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, service: Service) -> Iterator[Open]:
    """Opens the page; fails if the browser complained of anything, or asked anyone else."""
    complaints: list[str] = []
    contexts = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def watch(asked: str, url: str) -> None:
        if not asked.startswith((url, "blob:", "data:")):
            complaints.append(asked)

    def open_page(url: str = service.url, width: int = 1200, scheme: Scheme = "light") -> Page:
        size: ViewportSize = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", hear)
        page.on("request", lambda request: watch(request.url, url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def choose(page: Page) -> None:
    page.set_input_files("#file", EXAMPLES / "scene.png")
    page.wait_for_selector(".person")


def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.wait_for_timeout(300)
        page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


def photo(page: Page) -> Image:
    """The pixels of the canvas."""
    url = page.evaluate("document.getElementById('photo').toDataURL()")
    return read_image(io.BytesIO(base64.b64decode(url.split(",")[1])))


def test_a_chosen_photograph_shows_its_people(opened: Open, service: Service) -> None:
    page = opened()
    keep(page, "empty")
    choose(page)
    keep(page, "people")
    assert page.inner_text("#count") == "3 people"
    answer = service.post("/poses").json
    for person in answer["annotations"]:
        shape = page.locator(f'.person[data-id="{person["id"]}"]')
        assert f"{person['score']:.2f}" in str(shape.get_attribute("aria-label"))
        dots = shape.locator("circle")
        assert dots.count() == 17
        places = dots.evaluate_all(
            "dots => dots.map(d => [d.cx.baseVal.value, d.cy.baseVal.value])"
        )
        expected = np.array(person["keypoints"]).reshape(-1, 3)[:, :2] + 0.5
        assert np.allclose(places, expected, atol=0.01)
    assert np.array_equal(photo(page), read_image(io.BytesIO(SCENE)))


def test_people_are_selected_and_keypoints_named(opened: Open) -> None:
    page = opened()
    choose(page)
    page.click("#list button >> nth=1")
    page.hover('.person.chosen [data-name="left_knee"]')
    assert page.inner_text("#tip").startswith("left knee 0.")
    keep(page, "selected")
    assert page.locator("#keypoints tr").count() == 17
    assert "left knee" in page.inner_text("#keypoints tr.pointed")
    page.hover('#keypoints tr[data-name="nose"]')
    assert page.inner_text("#tip").startswith("nose 0.")
    page.click('.person[data-id="3"] circle >> nth=0')
    assert page.get_attribute("#list button >> nth=2", "aria-pressed") == "true"


def test_all_of_it_with_the_keyboard(opened: Open) -> None:
    page = opened()
    page.bring_to_front()
    page.wait_for_function("document.hasFocus()")  # keys that come sooner are lost
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.id === 'file'")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(EXAMPLES / "scene.png")
    page.wait_for_selector(".person")
    page.keyboard.press("Shift+Tab")  # the picture is before the buttons
    page.keyboard.press("Enter")
    chosen, tip = page.locator(".person.chosen"), page.locator("#tip")
    sync_api.expect(chosen).to_have_count(1)
    page.keyboard.press("ArrowRight")
    sync_api.expect(tip).to_have_text(re.compile("^nose"))
    page.keyboard.press("ArrowLeft")
    sync_api.expect(tip).to_have_text(re.compile("^right ankle"))
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    sync_api.expect(chosen).to_have_count(0)


def test_thresholds_hide_the_weak(opened: Open, service: Service) -> None:
    page = opened()
    choose(page)
    scores = [person["score"] for person in service.post("/poses").json["annotations"]]
    page.fill("#least", "0.7")
    assert page.locator(".person").count() == sum(score >= 0.7 for score in scores) == 2
    page.fill("#least", "1")
    assert page.inner_text("#count") == "No people"
    page.fill("#least", "0")
    page.fill("#least-keypoint", "0.9")
    assert 0 < page.locator(".person circle").count() < 17


def test_heatmaps_and_tags_are_laid_over_it(opened: Open) -> None:
    page = opened()
    choose(page)
    shown = {"photo": photo(page)}
    for name in ("heatmaps", "tags", "photo"):
        page.check(f"#view input[value={name}]")
        page.wait_for_selector("#busy", state="hidden")
        keep(page, name)
        shown[f"{name} again" if name in shown else name] = photo(page)
    assert np.array_equal(shown["photo"], shown["photo again"])
    assert len({picture.tobytes() for picture in shown.values()}) == 3
    assert page.locator(".person").count() == 3


def test_the_mirrored_photograph_can_be_looked_at_too(opened: Open, service: Service) -> None:
    page = opened()
    choose(page)
    with page.expect_response("**/poses?flip=true*"):
        page.click("#flip")
    page.wait_for_selector("#busy", state="hidden")
    scores = page.locator("#list .score").all_inner_texts()
    mirrored = service.post("/poses?flip=true").json["annotations"]
    assert scores == [f"{person['score']:.2f}" for person in mirrored]


def test_what_is_downloaded(opened: Open, tmp_path: Path) -> None:
    page = opened()
    choose(page)
    files = {}
    for kind in ("json", "png", "svg"):
        with page.expect_download() as download:
            page.click(f"#{kind}")
        assert download.value.suggested_filename == f"scene_poses.{kind}"
        files[kind] = tmp_path / f"poses.{kind}"
        download.value.save_as(files[kind])
    assert len(json.loads(files["json"].read_text())["annotations"]) == 3
    drawn = read_image(files["png"])
    assert drawn.shape == (256, 384, 3) and not np.array_equal(drawn, photo(page))
    svg = ElementTree.parse(files["svg"]).getroot()
    names = [part.tag.rsplit("}", 1)[1] for part in svg.iter()]
    assert names.count("image") == 1 and names.count("circle") == 51


def give(page: Page, event: str, name: str, kind: str, data: bytes) -> None:
    """Drops or pastes a file."""
    page.evaluate(
        """([event, name, type, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, { type }));
            const given = event === "drop" ? new DragEvent(event, { dataTransfer: data })
                : new ClipboardEvent(event, { clipboardData: data });
            document.dispatchEvent(given);
        }""",
        [event, name, kind, list(data)],
    )


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_photographs_are_dropped_and_pasted(event: str, opened: Open) -> None:
    page = opened()
    give(page, event, "a.png", "image/png", SCENE)
    page.wait_for_selector(".person")
    assert page.inner_text("#count") == "3 people"


def test_what_the_service_does_not_read_is_made_a_jpeg(opened: Open) -> None:
    page = opened()
    give(page, "drop", "a.bmp", "image/bmp", encode_image(read_image(io.BytesIO(SCENE)), ".bmp"))
    page.wait_for_selector(".person")


def test_it_says_what_went_wrong(opened: Open) -> None:
    page = opened()
    trouble = page.locator("#trouble")
    give(page, "drop", "notes.txt", "text/plain", b"hello")
    sync_api.expect(trouble).to_contain_text("That is no picture")
    give(page, "drop", "cut.png", "image/png", SCENE[:300])
    sync_api.expect(trouble).to_contain_text("cut.png is not a picture that your browser can show")
    give(
        page,
        "drop",
        "strip.png",
        "image/png",
        encode_image(np.zeros((16, 999, 3), np.uint8), ".png"),
    )
    sync_api.expect(trouble).to_contain_text("times as long as wide")
    keep(page, "trouble")
    choose(page)
    sync_api.expect(trouble).to_be_hidden()


def test_it_says_when_the_service_is_gone(opened: Open) -> None:
    with serving() as service:
        page = opened(service.url)
        choose(page)
    page.click("#flip")
    sync_api.expect(page.locator("#trouble")).to_contain_text("Is it still running?")


def test_it_asks_for_the_token(opened: Open, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("sesame")
    with serving("--token-file", secret) as service:
        page = opened(service.url)
        page.set_input_files("#file", EXAMPLES / "scene.png")
        for token in ("wrong", "sesame"):
            page.fill("#token", token)
            keep(page, "token")
            page.keyboard.press("Enter")
        page.wait_for_selector(".person")


def test_the_camera_shows_people_live(opened: Open) -> None:
    page = opened()
    page.click("#camera")
    for _ in range(3):
        with page.expect_response("**/poses?*") as response:
            pass
        assert response.value.ok
    page.wait_for_selector(".person")
    sync_api.expect(page.locator("#count")).to_contain_text("a second")
    keep(page, "camera")
    page.click("#camera")
    page.wait_for_timeout(300)
    assert page.inner_text("#camera") == "Camera"
    assert photo(page).shape == (256, 384, 3)
    assert page.locator(".person").count() >= 3  # the last picture stays


def test_a_camera_that_is_not_allowed(opened: Open) -> None:
    page = opened()
    denied = "() => Promise.reject(new DOMException('', 'NotAllowedError'))"
    page.evaluate(f"navigator.mediaDevices.getUserMedia = {denied}; 0")
    page.click("#camera")
    sync_api.expect(page.locator("#trouble")).to_contain_text("was not allowed")


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1200), ("dark", 1200), ("dark", 390), ("light", 390)]
)
def test_it_fits(scheme: Scheme, width: int, opened: Open) -> None:
    page = opened(width=width, scheme=scheme)
    choose(page)
    page.click("#list button >> nth=0")
    keep(page, f"{scheme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).color.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue > 380) == (scheme == "dark")
