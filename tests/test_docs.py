"""The documentation builds without warnings, loads nothing external, and its code blocks run."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

for package in ("sphinx", "jsonschema", "fastapi"):
    pytest.importorskip(package)

from jsonschema import Draft202012Validator

from docs.command_reference import help_text
from docs.error_messages import messages
from docs.json_formats import TYPES
from higherhrnet.cli.main import COMMANDS
from tests.browser import CHROMIUM, FLAGS, needs_chromium, needs_npm_packages, serving
from tests.io.videos import write_video

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "higherhrnet"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
MARKDOWN = [
    *sorted(ROOT.glob("*.md")),
    *sorted(
        p for name in ("benchmarks", "examples", ".github") for p in (ROOT / name).glob("*.md")
    ),
    *PAGES,
    *sorted((ROOT / "higherhrnet").rglob("*.md")),
    *sorted((ROOT / "tests").glob("*/*.md")),
]
"""All Markdown files of the repository."""
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?```(python|sh)\n(.*?)^```$", re.M | re.S)
LOADED = re.compile(r"""<(?:link|script|img|iframe)\b[^>]*\b(?:href|src)=["']([^"']+)""")
RECIPE = "coco-w32-512"
FLAG = re.compile(r"(?<![\w.-])--[a-z][\w.-]*")


def blocks_to_run(page: Path) -> Iterator[tuple[str, str]]:
    """The language and text of each code block, except those that state why they are not run."""
    for reason, language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if not reason:
            yield language, text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_code_block_is_overlooked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"```(?:python|sh)\b", text)) == len(BLOCK.findall(text))


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_lines_of_prose_have_at_most_100_characters(file: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", file.read_text(encoding="utf-8"), flags=re.M | re.S)
    is_other = re.compile(
        r" {4}|\s*(\||<|!\[|\[[^\]]+\]: )"
    )  # code, tables, HTML, images, addresses
    prose = [line for line in text.splitlines() if not is_other.match(line)]
    assert [line for line in prose if len(line) > 100 and " " in line.strip("-> ")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(blocks_to_run(p))], ids=lambda page: page.stem
)
def test_code_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    write_video(tmp_path / "clip.mp4", count=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no server listens there
    names: dict[str, object] = {}
    for language, text in blocks_to_run(page):
        if language == "python":
            if "import supervision" in text:  # not in the extra "dev"; see .ci/run
                pytest.importorskip("supervision")
            exec(compile(text, str(page), "exec"), names)
        else:
            subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; broken links and references are warnings, and warnings are errors."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "--fail-on-warning"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    built = subprocess.run(
        [*command, str(ROOT / "docs"), str(out)], env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return out


@pytest.mark.slow
def test_site_loads_nothing_from_other_hosts(site: Path) -> None:
    for page in site.rglob("*.html"):
        for address in LOADED.findall(page.read_text(encoding="utf-8")):
            assert "//" not in address, page
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"url\(['\"]?https?:|@import", text), style


@pytest.mark.slow
@needs_npm_packages
@needs_chromium
def test_the_model_finds_people_in_the_browser(site: Path, tmp_path: Path) -> None:
    """If the environment variable SCREENSHOTS names a folder, screenshots are saved there."""
    sync_api = pytest.importorskip("playwright.sync_api")
    screenshots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    video = tmp_path / "camera.y4m"
    source = ["-loop", "1", "-i", str(ROOT / "examples" / "basketball1.png"), "-frames:v", "5"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-pix_fmt", "yuv420p", video], check=True)
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags = [*FLAGS, *camera, f"--use-file-for-fake-video-capture={video}"]
    requested: list[str] = []
    with serving(site) as server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(120_000)
        page.on("request", lambda request: requested.append(request.url))
        status = page.locator("#try-status")
        page.goto(f"{server}/try.html")
        page.wait_for_selector("#try-example:enabled")
        page.click("#try-example")
        sync_api.expect(status).to_contain_text("2 people, ", timeout=120_000)
        page.screenshot(path=screenshots / "try.png", full_page=True)
        page.set_input_files("#try-file", ROOT / "examples" / "README.md")
        sync_api.expect(status).to_contain_text("The image cannot be used")
        page.click("#try-camera")
        sync_api.expect(status).to_contain_text("2 people, ", timeout=120_000)
        page.screenshot(path=screenshots / "try-camera.png", full_page=True)
        page.click("#try-camera")
        sync_api.expect(page.locator("#try-camera")).to_have_text("Camera")
        browser.close()
    assert all(url.startswith((server, "blob:", "data:")) for url in requested), requested


@pytest.mark.slow
def test_every_flag_of_every_command_is_in_the_reference(site: Path) -> None:
    reference = (site / "commands.html").read_text(encoding="utf-8")
    for command in [*COMMANDS, f"train {RECIPE}"]:
        for flag in flags_of(command) - {"--help"}:
            anchor = f"cmdoption-higherhrnet-{command.replace(' ', '-')}-{flag.removeprefix('--')}"
            assert f'id="{anchor}"' in reference


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_flags_that_a_page_names_exist(page: Path) -> None:
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    for command, rest in re.findall(r"\bhigherhrnet ([a-z-]+)( [^\n`]*)?", text):
        if command in COMMANDS:
            known = flags_of(f"train {RECIPE}" if command == "train" else command)
            assert set(FLAG.findall(rest)) <= known
    known = set().union(*(flags_of(command) for command in [*COMMANDS, f"train {RECIPE}"]))
    assert set(re.findall(r"`(--[a-z][\w.-]+\w)", text)) <= known


@cache
def flags_of(command: str) -> set[str]:
    """The flags that start a line of a command's --help text."""
    lines = re.findall(r"^│ (-.+?)(?:  |$)", help_text(command), re.M)
    return {flag for line in lines for flag in FLAG.findall(line)}


@pytest.mark.slow
def test_links_of_the_site_lead_to_files_and_anchors_that_exist(site: Path) -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    for page, text in pages.items():
        for address in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text):
            if re.match(r"[a-z]+:", address):
                continue
            path, _, anchor = unescape(unquote(address)).partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), f"{page.name}: {address}"
            if anchor and target in anchors:
                assert anchor in anchors[target], f"{page.name}: {address}"


@pytest.mark.slow
def test_site_has_a_valid_json_schema_of_each_format(site: Path) -> None:
    for name in TYPES:
        schema = json.loads((site / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        assert f"schemas/{name}.schema.json" in (site / "formats.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_error_message_is_on_the_page_of_its_cause(site: Path) -> None:
    page = unescape(re.sub("<[^>]+>", "", (site / "troubleshooting.html").read_text("utf-8")))
    for module, text in messages():
        assert " ".join(text.replace("`", "ˋ").split()) in " ".join(page.split()), module


def test_environment_variables_of_the_code_are_documented() -> None:
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    variables = re.compile(r"HIGHERHRNET_[A-Z_]+")
    code = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert set(variables.findall(code)) == set(variables.findall(page))
