"""The help texts of all commands."""

import re
import subprocess
import sys
from functools import cache
from itertools import pairwise

import pytest

from docs.command_reference import help_text
from higherhrnet import __version__
from higherhrnet.cli.main import COMMANDS

PAGES = ["", *COMMANDS, "train coco-w32-512"]
WIDTH = 100
"""The width of the pages of `help_text`."""


@cache
def help_page(command: str) -> str:
    return help_text(command)


def broken_lines(page: str) -> list[str]:
    """The lines of a help page that end although the first word of the next line would fit."""
    lines = [line[2:-2] for line in page.splitlines() if line.startswith("│")]
    room = WIDTH - 4
    broken = []
    for line, following in pairwise(lines):
        indent = len(following) - len(following.lstrip())
        continues = indent > 0 and following.strip() and line[:indent].endswith("  ")
        if continues and line[indent : indent + 1].strip():
            word = following.split()[0]
            if len(line.rstrip()) + 1 + len(word) <= room and not following.lstrip().startswith(
                "•"
            ):
                broken.append(line)
    return broken


def test_broken_lines_are_found() -> None:
    first, second = "│ --flag  The line ends".ljust(WIDTH - 1), "│         here.".ljust(WIDTH - 1)
    assert broken_lines(f"{first}│\n{second}│") == [first[2:-1]]


@pytest.mark.parametrize("page", PAGES)
def test_help_texts_have_no_broken_lines(page: str) -> None:
    text = help_page(page)
    assert text.startswith("usage: higherhrnet")
    assert broken_lines(text) == []
    before_panels = text.partition("\n╭")[0]
    for paragraph in before_panels.split("\n\n")[1:]:
        assert "\n" not in paragraph.strip(), paragraph


@pytest.mark.parametrize("page", PAGES[1:])
def test_help_texts_explain_every_flag_and_its_default(page: str) -> None:
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", help_page(page)).split())
    assert "(default: None)" not in text and "(default: )" not in text
    assert "Args:" not in text and "Returns:" not in text


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version_is_printed(flag: str) -> None:
    command = [sys.executable, "-m", "higherhrnet", flag]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"higherhrnet {__version__}\n"
