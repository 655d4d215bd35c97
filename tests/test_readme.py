"""The Python blocks of the README run and print what it shows; the files it links to exist."""

import re
import shutil
from pathlib import Path

import pytest

from higherhrnet import read_image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", README, re.S)
NUMBER = re.compile(r"\d+\.\d+")


@pytest.mark.parametrize(("block", "shown"), BLOCKS)
def test_python_block_runs_and_prints_what_is_shown(
    block: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block, names)
    assert len(names["poses"]) > 0  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown)
    # the engines differ in the last digits
    values = [[float(number) for number in NUMBER.findall(text)] for text in (printed, shown)]
    assert values[0] == pytest.approx(values[1], abs=0.02)
    assert read_image("drawn.jpg").shape == read_image("examples/basketball1.png").shape


def test_readme_has_a_python_block_with_its_output() -> None:
    assert BLOCKS and all(shown for _, shown in BLOCKS)


@pytest.mark.parametrize("file", re.findall(r"\]\(([^):#]+)\)", README))
def test_linked_file_exists(file: str) -> None:
    assert (ROOT / file).is_file()


def test_animation_is_small_enough_for_a_first_screen() -> None:
    [animation] = re.findall(r"\]\((\S+\.webp)\)", README)
    assert (ROOT / animation).stat().st_size < 2_000_000


def test_citation_names_the_papers_of_the_readme() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    titles = re.findall(r"^ +title += \{(.+)\},", README, re.M)
    assert len(titles) == 3
    for title in titles:
        assert title.replace("{", "").replace("}", "") in citation
