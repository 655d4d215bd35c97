"""A Sphinx directive, `command-reference`, that shows the --help text of every command."""

from __future__ import annotations

import io
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from typing import Any
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from higherhrnet.cli.main import COMMANDS, main
from higherhrnet.config.recipes import RECIPES


@cache
def help_text(command: str) -> str:
    """The output of `higherhrnet COMMAND --help`."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    narrow = patch.dict(
        os.environ, COLUMNS="100"
    )  # on wider terminals tyro arranges panels in columns
    with narrow, redirect_stdout(output), suppress(SystemExit):
        main([*command.split(), "--help"])
    output.seek(0)
    return output.read()


def summaries() -> str:
    """A table of the commands, with links to their sections."""
    rows = (f"| [{name}](#{name}) | {_mark_flags(_head(name)[1])} |" for name in COMMANDS)
    return "\n".join(["| Command | Task |", "|---|---|", *rows])


def _head(command: str) -> list[str]:
    """The usage and the paragraphs of the description."""
    return help_text(command).split("\n╭─ ")[0].strip().split("\n\n")


def _mark_flags(text: str) -> str:
    """Marks the flags in a text as code."""
    return re.sub(r"(?<!\S)--[a-z][a-z0-9.-]*[a-z0-9]", r"`\g<0>`", text)


def to_markdown(command: str) -> Iterator[str]:
    """The help text as blocks of Markdown: usage, description, then each panel of flags."""
    text = help_text(command)
    usage, *description = _head(command)
    usage = re.sub(r"\{[^{}]{40,}\}", "RECIPE", usage.removeprefix("usage: "))
    lines = textwrap.wrap(usage, 96, subsequent_indent="    ", break_on_hyphens=False)
    yield "```text\n" + "\n".join(lines) + "\n```"
    yield from map(_mark_flags, description)
    yield f"```{{program}} higherhrnet {command}\n```"
    for title, panel in re.findall(r"^╭─ (.+?) ─+╮\n(.*?)\n╰─", text, re.M | re.S):
        entries = list(_entries(panel))
        if entries:
            yield f"**{title[0].upper()}{title[1:]}**"
        yield from entries


def _entries(panel: str) -> Iterator[str]:
    """The flags of a panel; a flag starts at the edge, and its help is indented."""
    lines = [line[2:-2].rstrip() for line in panel.split("\n")]
    for entry in re.split(r"\n(?=\S| +•)", "\n".join(lines)):
        name, *words = re.split(r"\s{2,}", entry.strip().removeprefix("• "))
        meaning = re.sub(r" \(default: (None)?\)", "", " ".join(words))
        meaning = _mark_flags(meaning)
        if not meaning or name.startswith("-h"):
            continue
        if name.startswith("-"):
            yield f"```{{option}} {name.replace('{None}|', '')}\n{meaning}\n```"
        else:
            yield f"`{name}`\n: {meaning}"


class CommandReference(SphinxDirective):
    """A table of the commands, a section for each, and one for the flags that recipes share."""

    def run(self) -> list[nodes.Node]:
        """Returns the sections."""
        sections = ["## All commands", summaries()]
        for command in COMMANDS:
            sections += [f"## {command}", *to_markdown(command)]
            if command == "train":
                recipe = next(iter(RECIPES))
                sections += [
                    f"### Flags of a recipe, for example {recipe}",
                    *to_markdown(f"train {recipe}"),
                ]
        return self.parse_text_to_nodes("\n\n".join(sections), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("command-reference", CommandReference)
    return {"parallel_read_safe": True}
