"""The page Troubleshooting has a cause and a way out for every error message in the code."""

from pathlib import Path

import pytest

pytest.importorskip("sphinx")

import higherhrnet
from docs.error_messages import cause_of, causes, messages

PACKAGE = Path(higherhrnet.__file__).parent


def test_every_module_with_error_messages_has_a_cause() -> None:
    known, modules = causes(), {module for module, _ in messages()}
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
def test_messages_of_the_code_are_found(module: str, message: str) -> None:
    assert any(message in text for found, text in messages() if found == module)
