"""The README's Python runs as it stands, and what it links to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found: dict[str, object] = {}
    exec(block, found)
    assert len(found["poses"]) > 0  # type: ignore[arg-type]


def test_there_is_python_to_run() -> None:
    assert BLOCKS


@pytest.mark.parametrize("file", re.findall(r"\]\(([^):#]+)\)", README))
def test_linked_files_are_there(file: str) -> None:
    assert (ROOT / file).is_file()
