"""A Sphinx directive, `verbs`, that shows every verb of the command line by its own --help."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from typing import Any
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from higherhrnet.cli.main import VERBS, main
from higherhrnet.recipes import RECIPES


def help_of(verb: str) -> str:
    """What `higherhrnet VERB --help` prints."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    narrow = patch.dict(os.environ, COLUMNS="100")  # in a wider one tyro sets panels side by side
    with narrow, redirect_stdout(printed), suppress(SystemExit):
        main([*verb.split(), "--help"])
    printed.seek(0)
    return printed.read()


def describe(verb: str) -> Iterator[str]:
    """The help as Markdown, a block at a time: how to call it, what it does, panel by panel."""
    shown = help_of(verb)
    usage, *about = shown.split("\n╭─ ")[0].split("\n\n")
    yield f"```text\n{usage.removeprefix('usage: ')}\n```"
    yield from about
    yield f"```{{program}} higherhrnet {verb}\n```"
    for title, panel in re.findall(r"^╭─ (.+?) ─+╮\n(.*?)\n╰─", shown, re.M | re.S):
        entries = list(_entries(panel))
        if entries and title != "options":
            yield f"**{title[0].upper()}{title[1:]}**"
        yield from entries


def _entries(panel: str) -> Iterator[str]:
    """A flag begins at the panel's edge, what it does is indented or two spaces further on."""
    lines = [line[2:-2].rstrip() for line in panel.split("\n")]
    for entry in re.split(r"\n(?=\S| +•)", "\n".join(lines)):
        name, *words = re.split(r"\s{2,}", entry.strip().removeprefix("• "))
        meaning = re.sub(r" \(default: (None)?\)", "", " ".join(words))
        meaning = re.sub(r"(?<!\S)--[a-z-]+", r"`\g<0>`", meaning)
        if not meaning or name.startswith("-h"):
            continue
        if name.startswith("-"):
            yield f"```{{option}} {name.replace('{None}|', '')}\n{meaning}\n```"
        else:
            yield f"`{name}`\n: {meaning}"


class Verbs(SphinxDirective):
    """A section a verb, and one for the flags that recipes share."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        sections: list[str] = []
        for verb in VERBS:
            sections += [f"## {verb}", *describe(verb)]
            if verb == "train":
                recipe = next(iter(RECIPES))
                sections += [f"### Flags of a recipe, here {recipe}", *describe(f"train {recipe}")]
        return self.parse_text_to_nodes("\n\n".join(sections), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Makes the directive known to Sphinx."""
    app.add_directive("verbs", Verbs)
    return {"parallel_read_safe": True}
