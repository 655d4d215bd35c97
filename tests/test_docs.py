"""The pages: they build without a warning, load nothing from elsewhere, and what they say runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from docs.verbs import help_of
from higherhrnet.cli.main import VERBS
from tests.io.test_video_writer import write

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"(<!-- not run: .+ -->\n)?```(python|sh)\n(.*?)^```$", re.M | re.S)
LOADED = re.compile(r"""<(?:link|script|img|iframe)\b[^>]*\b(?:href|src)=["']([^"']+)""")
RECIPE = "coco-w32-512"
FLAG = re.compile(r"(?<![\w.-])--[a-z][\w.-]*")


def to_run(page: Path) -> Iterator[tuple[str, str]]:
    """The language and text of each code block but for those that say why not."""
    for excuse, language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if not excuse:
            yield language, text


@pytest.mark.parametrize("page", [p for p in PAGES if any(to_run(p))], ids=lambda page: page.stem)
def test_what_a_page_tells_to_run_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    write(tmp_path / "clip.mp4", count=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HIGHERHRNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody answers
    names: dict[str, object] = {}
    for language, text in to_run(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        else:
            subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; a broken link or reference is a warning, and a warning an error."""
    out = tmp_path_factory.mktemp("site")
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "--fail-on-warning",
        str(ROOT / "docs"),
        str(out),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    built = subprocess.run(build, env=env, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        for address in LOADED.findall(page.read_text(encoding="utf-8")):
            assert "//" not in address, page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import", style.read_text(encoding="utf-8")), (
            style
        )


def test_every_flag_of_every_verb_has_its_place(site: Path) -> None:
    commands = (site / "commands.html").read_text(encoding="utf-8")
    for verb in [*VERBS, f"train {RECIPE}"]:
        for flag in flags_of(verb) - {"--help"}:
            place = f"cmdoption-higherhrnet-{verb.replace(' ', '-')}-{flag.removeprefix('--')}"
            assert f'id="{place}"' in commands


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_flags_that_a_page_names_are_there(page: Path) -> None:
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    for verb, rest in re.findall(r"\bhigherhrnet ([a-z-]+)( [^\n`]*)?", text):
        if verb in VERBS:
            assert set(FLAG.findall(rest)) <= flags_of(
                f"train {RECIPE}" if verb == "train" else verb
            )
    ours = set().union(*(flags_of(verb) for verb in [*VERBS, f"train {RECIPE}"]))
    assert set(re.findall(r"`(--[a-z][\w.-]+\w)", text)) <= ours


@cache
def flags_of(verb: str) -> set[str]:
    """The flags that begin a line of a verb's --help."""
    lines = re.findall(r"^│ (-.+?)(?:  |$)", help_of(verb), re.M)
    return {flag for line in lines for flag in FLAG.findall(line)}
