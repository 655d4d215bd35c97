"""Tables by name, such as those of the heads, have an entry for every name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import pytest

import higherhrnet
from higherhrnet.config.model import HeadName, StemName
from higherhrnet.engines.base import EngineName
from higherhrnet.io.interchange.format_names import FormatName
from higherhrnet.poses.skeletons import SKELETONS

PACKAGE = Path(higherhrnet.__file__).parent
NAMES = {
    "HeadName": set(get_args(HeadName)),
    "StemName": set(get_args(StemName)) - {"hrnet"},  # the paper's stem is part of the backbone
    "EngineName": set(get_args(EngineName)) - {"auto"},
    "FormatName": set(get_args(FormatName)),
}
"""The names of each kind that a table must have."""

INCOMPLETE = {
    "graph/decode/people.py: DECODERS",  # `export --decode` reports heads that it does not support
    "graph/stem_tables.py: EFFICIENTNET_STAGES",
}
"""Tables that need not have every name."""


def tables(source: str) -> Iterator[tuple[str, str, set[str]]]:
    """Finds the variables that are annotated as dictionaries by one of the kinds of names.

    Yields:
        The name of the variable, the kind, and the keys.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        kind = ast.unparse(node.annotation).removeprefix("dict[").partition(",")[0]
        if kind in NAMES:
            keys = {ast.literal_eval(key) for key in node.value.keys if key}
            yield ast.unparse(node.target), kind, keys


FOUND = {
    f"{path.relative_to(PACKAGE).as_posix()}: {variable}": (kind, keys)
    for path in sorted(PACKAGE.rglob("*.py"))
    for variable, kind, keys in tables(path.read_text(encoding="utf-8"))
}


def test_the_tables_of_every_kind_of_name_are_found() -> None:
    assert {kind for kind, _ in FOUND.values()} == NAMES.keys()
    assert FOUND.keys() >= {
        "network/build.py: NETWORKS", "network/hrnet.py: STEMS", "graph/stems.py: STEMS",
        "decoding/decoders.py: DECODERS", "training/learners.py: LEARNERS",
        "engines/load.py: ENGINES", "io/interchange/formats.py: FORMATS", *INCOMPLETE,
    }  # fmt: skip


@pytest.mark.parametrize("table", sorted(FOUND.keys() - INCOMPLETE))
def test_every_table_has_an_entry_for_every_name(table: str) -> None:
    kind, keys = FOUND[table]
    missing, unknown = NAMES[kind] - keys, keys - NAMES[kind]
    assert not missing, f"higherhrnet/{table} has no entry for {', '.join(sorted(missing))}"
    assert not unknown, f"higherhrnet/{table}: {', '.join(sorted(unknown))} is not in {kind}"


@pytest.mark.parametrize(
    ("names", "page"),
    [
        (get_args(FormatName), "higherhrnet/cli/predict.py"),
        (get_args(FormatName), "docs/other-programs.md"),
        (SKELETONS, "higherhrnet/config/data.py"),
    ],
)
def test_every_name_is_described_where_users_read_about_it(names: Iterable[str], page: str) -> None:
    words = set(re.findall(r"[\w-]+", (PACKAGE.parent / page).read_text(encoding="utf-8")))
    missing = set(names) - words
    assert not missing, f"{page} does not describe {', '.join(sorted(missing))}"
