"""The page Troubleshooting has a cause and a way out for every error message in the code."""

from pathlib import Path

import pytest

pytest.importorskip("sphinx")

import higherhrnet
from docs.error_messages import cause_of, causes, messages

PACKAGE = Path(higherhrnet.__file__).parent


@pytest.fixture(scope="module")
def found() -> list[tuple[str, str]]:
    """The module and the text of each message in the code."""
    return list(messages())


def test_every_module_with_error_messages_has_a_cause(found: list[tuple[str, str]]) -> None:
    known, modules = causes(), {module for module, _ in found}
    assert modules - {module for module in modules if cause_of(module, known)} == set()
    names = [name for cause in known for name in cause.modules]
    assert len(set(names)) == len(names)
    for name in names:
        path = PACKAGE.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("io.images", "<name>: the file is empty"),
        ("cli.options", "--fast excludes --flip and --scales; omit it or them"),
        ("zoo.published", "<name>: no such model file or published model; <hint>"),
        ("serving.json_images", "the body is not valid JSON: <reason>"),
        ("io.torch_file.reader", "not a file of weights written by torch.save, or damaged"),
    ],
)
def test_messages_of_the_code_are_found(
    module: str, message: str, found: list[tuple[str, str]]
) -> None:
    assert any(message in text for place, text in found if place == module)
