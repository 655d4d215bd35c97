"""The web page in Chromium.

If the environment variable SCREENSHOTS names a folder, screenshots are saved there.
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
    from playwright.sync_api import Browser, ConsoleMessage, Page, Route, ViewportSize

    Open = Callable[..., Page]

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"
)
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def camera_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The video that the browser uses as its camera: the scene, not moving."""
    path = tmp_path_factory.mktemp("camera") / "scene.y4m"
    height, width = 256, 384
    planes = cv2.cvtColor(read_image(io.BytesIO(SCENE)), cv2.COLOR_RGB2YUV_I420)
    frame = b"FRAME\n" + planes.tobytes()
    path.write_bytes(b"YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n" % (width, height) + 10 * frame)
    return path


@pytest.fixture(scope="module")
def browser(camera_video: Path) -> Iterator[Browser]:
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags = ["--no-sandbox", *camera, f"--use-file-for-fake-video-capture={camera_video}"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, service: Service) -> Iterator[Open]:
    """Opens the page; fails at errors in the console and requests to other servers."""
    errors: list[str] = []
    contexts = []

    def record_error(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            errors.append(message.text)

    def check_server(requested: str, url: str) -> None:
        if not requested.startswith((url, "blob:", "data:")):
            errors.append(requested)

    def open_page(
        url: str = service.url,
        proxy: Callable[[Route], None] | None = None,
        width: int = 1200,
        scheme: Scheme = "light",
    ) -> Page:
        size: ViewportSize = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", record_error)
        page.on("request", lambda request: check_server(request.url, url))
        if proxy:
            page.route(f"{url}**", proxy)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def choose_scene(page: Page) -> None:
    page.set_input_files("#file", EXAMPLES / "scene.png")
    page.wait_for_selector(".person")


def screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.wait_for_timeout(300)
        page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


def canvas(page: Page) -> Image:
    """The pixels of the canvas."""
    url = page.evaluate("document.getElementById('canvas').toDataURL()")
    return read_image(io.BytesIO(base64.b64decode(url.split(",")[1])))


def test_the_poses_of_a_chosen_image_are_drawn(opened: Open, service: Service) -> None:
    page = opened()
    screenshot(page, "empty")
    choose_scene(page)
    screenshot(page, "people")
    assert page.inner_text("#count") == "3 people"
    response = service.post("/poses").json
    for person in response["annotations"]:
        shape = page.locator(f'.person[data-id="{person["id"]}"]')
        assert f"{person['score']:.2f}" in str(shape.get_attribute("aria-label"))
        circles = shape.locator("circle")
        assert circles.count() == 17
        centers = circles.evaluate_all(
            "circles => circles.map(({ cx, cy }) => [cx.baseVal.value, cy.baseVal.value])"
        )
        expected = np.array(person["keypoints"]).reshape(-1, 3)[:, :2] + 0.5
        assert np.allclose(centers, expected, atol=0.01)
    assert np.array_equal(canvas(page), read_image(io.BytesIO(SCENE)))


def test_the_page_works_under_the_prefix_of_a_proxy(opened: Open, service: Service) -> None:
    """`opened` fails at a request outside of the prefix."""

    def strip_prefix(route: Route) -> None:
        target = route.request.url.replace("/pose/", "/", 1)
        route.fulfill(response=route.fetch(url=target))

    page = opened(f"{service.url}/pose/", strip_prefix)
    choose_scene(page)
    assert page.locator(".person").count() == 3


@pytest.mark.slow
def test_people_can_be_selected_and_keypoints_have_tooltips(opened: Open) -> None:
    page = opened()
    choose_scene(page)
    page.click("#list button >> nth=1")
    page.hover('.person.selected [data-name="left_knee"]')
    assert page.inner_text("#tooltip").startswith("left knee 0.")
    screenshot(page, "selected")
    assert page.locator("#keypoints tr").count() == 17
    assert "left knee" in page.inner_text("#keypoints tr.highlighted")
    page.hover('#keypoints tr[data-name="nose"]')
    assert page.inner_text("#tooltip").startswith("nose 0.")
    page.click('.person[data-id="3"] circle >> nth=0')
    assert page.get_attribute("#list button >> nth=2", "aria-pressed") == "true"


def test_the_page_can_be_used_with_the_keyboard(opened: Open) -> None:
    page = opened()
    page.bring_to_front()
    page.wait_for_function("document.hasFocus()")  # earlier keys are lost
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.id === 'file'")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(EXAMPLES / "scene.png")
    page.wait_for_selector(".person")
    page.keyboard.press("Shift+Tab")  # the people are before the buttons
    page.keyboard.press("Enter")
    selected, tooltip = page.locator(".person.selected"), page.locator("#tooltip")
    sync_api.expect(selected).to_have_count(1)
    page.keyboard.press("ArrowRight")
    sync_api.expect(tooltip).to_have_text(re.compile("^nose"))
    page.keyboard.press("ArrowLeft")
    sync_api.expect(tooltip).to_have_text(re.compile("^right ankle"))
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    sync_api.expect(selected).to_have_count(0)


def test_sliders_hide_low_scores(opened: Open, service: Service) -> None:
    page = opened()
    choose_scene(page)
    scores = [person["score"] for person in service.post("/poses").json["annotations"]]
    page.fill("#min-score", "0.7")
    assert page.locator(".person").count() == sum(score >= 0.7 for score in scores) == 2
    page.fill("#min-score", "1")
    assert page.inner_text("#count") == "No people"
    page.fill("#min-score", "0")
    page.fill("#min-keypoint-score", "0.9")
    assert 0 < page.locator(".person circle").count() < 17


@pytest.mark.slow
def test_heatmaps_and_tags_are_drawn_over_the_image(opened: Open) -> None:
    page = opened()
    choose_scene(page)
    views = {"image": canvas(page)}
    for name in ("heatmaps", "tags", "image again"):
        page.check(f"#view input[value={name.split()[0]}]")
        page.wait_for_selector("#progress", state="hidden")
        screenshot(page, name)
        views[name] = canvas(page)
    assert np.array_equal(views["image"], views["image again"])
    assert len({pixels.tobytes() for pixels in views.values()}) == 3
    assert page.locator(".person").count() == 3


def test_the_flipped_view_can_be_added(opened: Open, service: Service) -> None:
    page = opened()
    choose_scene(page)
    with page.expect_response("**/poses?flip=true*"):
        page.click("#flip")
    page.wait_for_selector("#progress", state="hidden")
    scores = page.locator("#list .score").all_inner_texts()
    flipped = service.post("/poses?flip=true").json["annotations"]
    assert scores == [f"{person['score']:.2f}" for person in flipped]


@pytest.mark.slow
def test_results_are_downloaded_as_json_png_and_svg(opened: Open, tmp_path: Path) -> None:
    page = opened()
    choose_scene(page)
    files = {}
    for kind in ("json", "png", "svg"):
        with page.expect_download() as download:
            page.click(f"#{kind}")
        assert download.value.suggested_filename == f"scene_poses.{kind}"
        files[kind] = tmp_path / f"poses.{kind}"
        download.value.save_as(files[kind])
    assert len(json.loads(files["json"].read_text())["annotations"]) == 3
    drawn = read_image(files["png"])
    assert drawn.shape == (256, 384, 3) and not np.array_equal(drawn, canvas(page))
    svg = ElementTree.parse(files["svg"]).getroot()
    names = [part.tag.rsplit("}", 1)[1] for part in svg.iter()]
    assert names.count("image") == 1 and names.count("circle") == 51


def transfer_file(page: Page, event: str, name: str, kind: str, data: bytes) -> None:
    """Drops or pastes a file."""
    page.evaluate(
        """([event, name, type, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, { type }));
            const transfer = event === "drop" ? new DragEvent(event, { dataTransfer: data })
                : new ClipboardEvent(event, { clipboardData: data });
            document.dispatchEvent(transfer);
        }""",
        [event, name, kind, list(data)],
    )


@pytest.mark.slow
@pytest.mark.parametrize("event", ["drop", "paste"])
def test_images_can_be_dropped_and_pasted(event: str, opened: Open) -> None:
    page = opened()
    transfer_file(page, event, "a.png", "image/png", SCENE)
    page.wait_for_selector(".person")
    assert page.inner_text("#count") == "3 people"


@pytest.mark.slow
def test_other_formats_are_converted_to_jpeg(opened: Open) -> None:
    page = opened()
    transfer_file(
        page, "drop", "a.bmp", "image/bmp", encode_image(read_image(io.BytesIO(SCENE)), ".bmp")
    )
    page.wait_for_selector(".person")


def test_errors_are_shown_with_their_reason(opened: Open) -> None:
    page = opened()
    error = page.locator("#error")
    transfer_file(page, "drop", "notes.txt", "text/plain", b"hello")
    sync_api.expect(error).to_contain_text("This is not an image")
    transfer_file(page, "drop", "cut.png", "image/png", SCENE[:300])
    sync_api.expect(error).to_contain_text("This browser cannot open cut.png")
    transfer_file(
        page,
        "drop",
        "strip.png",
        "image/png",
        encode_image(np.zeros((16, 999, 3), np.uint8), ".png"),
    )
    sync_api.expect(error).to_contain_text("times as long")
    assert page.inner_text("#count") == "No result"
    screenshot(page, "error")
    choose_scene(page)
    sync_api.expect(error).to_be_hidden()


@pytest.mark.slow
def test_a_stopped_service_is_an_error(opened: Open) -> None:
    with serving() as service:
        page = opened(service.url)
        choose_scene(page)
    page.click("#flip")
    sync_api.expect(page.locator("#error")).to_contain_text("The service does not respond")


@pytest.mark.slow
def test_the_token_is_requested_until_it_is_valid(opened: Open, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("sesame")
    with serving("--token-file", token_file) as service:
        page = opened(service.url)
        page.set_input_files("#file", EXAMPLES / "scene.png")
        for token in ("wrong", "sesame"):
            page.fill("#token", token)
            screenshot(page, "token")
            page.keyboard.press("Enter")
        page.wait_for_selector(".person")


@pytest.mark.slow
def test_the_camera_shows_the_poses_of_each_frame(opened: Open) -> None:
    page = opened()
    page.click("#camera")
    for _ in range(3):
        with page.expect_response("**/poses?*") as response:
            pass
        assert response.value.ok
    page.wait_for_selector(".person")
    sync_api.expect(page.locator("#count")).to_contain_text("frames/s")
    screenshot(page, "camera")
    page.click("#camera")
    page.wait_for_timeout(300)
    assert page.inner_text("#camera") == "Camera"
    assert canvas(page).shape == (256, 384, 3)
    assert page.locator(".person").count() >= 3  # the last frame remains


def test_a_denied_camera_is_an_error(opened: Open) -> None:
    page = opened()
    denied = "() => Promise.reject(new DOMException('', 'NotAllowedError'))"
    page.evaluate(f"navigator.mediaDevices.getUserMedia = {denied}; 0")
    page.click("#camera")
    sync_api.expect(page.locator("#error")).to_contain_text("may not use the camera")


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1200), ("dark", 1200), ("dark", 390), ("light", 390)]
)
def test_the_page_fits_the_window_in_both_color_schemes(
    scheme: Scheme, width: int, opened: Open
) -> None:
    page = opened(width=width, scheme=scheme)
    choose_scene(page)
    page.click("#list button >> nth=0")
    screenshot(page, f"{scheme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).color.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue > 380) == (scheme == "dark")
