"""The Python blocks of the README run, and the files it links to exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("block", BLOCKS)
def test_python_block_runs_and_finds_people(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    exec(block, names)
    assert len(names["poses"]) > 0  # type: ignore[arg-type]


def test_readme_has_a_python_block() -> None:
    assert BLOCKS


@pytest.mark.parametrize("file", re.findall(r"\]\(([^):#]+)\)", README))
def test_linked_file_exists(file: str) -> None:
    assert (ROOT / file).is_file()
