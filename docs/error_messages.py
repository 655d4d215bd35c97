"""A Sphinx directive, `error-messages`, that lists the error messages in the code by their cause.

The messages are read from the source of the package: the calls in `MESSAGE_ARGUMENTS`.
`error_causes.toml` has the causes by module.
"""

from __future__ import annotations

import ast
import builtins
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from keyword import kwlist
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import higherhrnet

PACKAGE = Path(higherhrnet.__file__).parent
CAUSES = Path(__file__).with_name("error_causes.toml")
MESSAGE_ARGUMENTS = {
    "InputError": 0,
    "require": 1,
    "HTTPException": 1,
    "ContentsError": 0,
    "damaged": 0,
    "PixelError": 0,
}
"""The calls that contain messages for users, and the position of the message."""
NOT_DESCRIPTIVE = {*kwlist, *dir(builtins), "self", "join", "name", "error", "strerror", "shorten"}
"""Names in an expression that do not describe what it stands for."""

Constants = dict[str, ast.expr]
"""The constants of a module by name."""


@dataclass(frozen=True)
class Cause:
    """A kind of error: what causes it, and the way out."""

    title: str
    modules: tuple[str, ...]
    """Modules and folders of the package, without `higherhrnet.`, whose messages are of this kind;
    the longest one that matches is decisive."""
    cause: str
    way_out: str


def causes() -> list[Cause]:
    """Reads the causes in the order of the page."""
    entries = tomllib.loads(CAUSES.read_text(encoding="utf-8"))["cause"]
    return [Cause(**entry | {"modules": tuple(entry["modules"])}) for entry in entries]


def messages() -> Iterator[tuple[str, str]]:
    """Yields the module and the text of each message, with placeholders in angle brackets."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: statement.value
            for statement in tree.body
            if isinstance(statement, ast.Assign)
            for target in ast.walk(statement)
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (argument := _message(node)) is not None:
                texts = _texts(argument, constants)
                yield from ((module, text) for text in texts if _has_words(text))


def cause_of(module: str, known: list[Cause]) -> Cause | None:
    """Returns the cause of a module's messages: that of the module or of its nearest folder."""
    by_module = {name: cause for cause in known for name in cause.modules}
    while module and module not in by_module:
        module = module.rpartition(".")[0]
    return by_module.get(module)


def _message(call: ast.Call) -> ast.expr | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    position = MESSAGE_ARGUMENTS.get(name)
    if position is None or len(call.args) <= position:
        return None
    return call.args[position]


def _texts(node: ast.expr, constants: Constants) -> Iterator[str]:
    """Yields the texts that an expression can have: two for `a if condition else b`."""
    if isinstance(node, ast.IfExp):
        yield from _texts(node.body, constants)
        yield from _texts(node.orelse, constants)
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(_part(part, constants) for part in node.values)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for left in _texts(node.left, constants):
            yield from (left + right for right in _texts(node.right, constants))
    elif isinstance(node, ast.Name) and node.id in constants:
        yield from _texts(constants[node.id], constants)


def _part(part: ast.expr, constants: Constants) -> str:
    """Returns the text of one part of an f-string, or a placeholder that describes the value."""
    if not isinstance(part, ast.FormattedValue):
        return next(_texts(part, constants), "")
    value = part.value
    if isinstance(value, ast.Name) and isinstance(constants.get(value.id), ast.Constant):
        return next(_texts(constants[value.id], constants))
    if isinstance(value, ast.IfExp) and ast.unparse(value.orelse) == "''":
        return ""  # an addition in some cases
    names = re.findall(r"[A-Za-z_]\w*", ast.unparse(value))
    described = [name for name in names if name not in NOT_DESCRIPTIVE]
    described = described or ["name" if "name" in names else "reason"]
    return f"<{described[-1].strip('_').lower().replace('_', ' ')}>"


def _has_words(text: str) -> bool:
    """Returns whether a message has words of its own, unlike one that only contains another."""
    return bool(re.search(r"[a-z]{2,}", re.sub(r"<[^>]*>", "", text)))


class ErrorMessages(SphinxDirective):
    """One section per cause, with its explanation and all messages."""

    def run(self) -> list[nodes.Node]:
        """Returns the sections."""
        known = causes()
        texts: dict[str, dict[str, None]] = {cause.title: {} for cause in known}
        for module, text in messages():
            cause = cause_of(module, known)
            if cause is None:
                raise self.error(f"{CAUSES.name}: no cause for the messages of {module}")
            texts[cause.title][text] = None
        sections = []
        for cause in known:
            lines = "\n".join(f"- `` {text.replace('`', 'ˋ')} ``" for text in texts[cause.title])
            sections.append(
                f"### {cause.title}\n\n**Cause.** {cause.cause}\n\n**Way out.** {cause.way_out}\n\n"
                f"**Messages**\n\n{lines}"
            )
        self.env.note_dependency(str(CAUSES))
        return self.parse_text_to_nodes("\n\n".join(sections), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("error-messages", ErrorMessages)
    return {"parallel_read_safe": True}
