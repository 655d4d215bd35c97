"""Configuration of Sphinx; build with: sphinx-build --fail-on-warning docs site."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx

import higherhrnet

sys.path.insert(0, str(Path(__file__).parents[1]))  # the extensions in docs

project = "higherhrnet"
author = copyright = "the authors of higherhrnet"
version = release = higherhrnet.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docs.browser_page",
    "docs.command_reference",
    "docs.error_messages",
    "docs.json_schemas",
    "docs.model_cards",
]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
autodoc_type_aliases = {
    name: name for name in ("FloatArray", "Image", "ImageSource", "Outputs", "Precision")
}
napoleon_numpy_docstring = False
default_role = "code"

html_theme = "furo"
html_title = "higherhrnet"
html_static_path = ["static"]
html_css_files = ["style.css"]
pygments_dark_style = "github-dark"
html_copy_source = html_show_sourcelink = html_show_copyright = False


def shorten_types(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, *signature: str | None
) -> tuple[str | None, ...]:
    """Replaces the expanded types in a signature by their names in the code."""
    expanded = re.compile(
        r"TypeAliasForwardRef\('(\w+)'\)|\S*(ndarray)\[tuple\[\S*Any, \.{3}\], \S*dtype\[[^\]]+\]\]"
    )
    return tuple(
        part and expanded.sub(lambda match: match[1] or match[2], part) for part in signature
    )


def replace_colons(old: str, new: str) -> Callable[..., None]:
    """Creates a handler that replaces text in the first line of the docstrings of attributes."""

    def replace(
        _app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]
    ) -> None:
        if what == "attribute" and lines:
            lines[0] = lines[0].replace(old, new)

    return replace


def setup(app: Sphinx) -> None:
    """Registers the handlers."""
    app.connect("autodoc-process-signature", shorten_types)
    # napoleon, with priority 500, would read what precedes a colon as the type of the attribute
    app.connect("autodoc-process-docstring", replace_colons(": ", "\0 "), priority=400)
    app.connect("autodoc-process-docstring", replace_colons("\0 ", ": "), priority=600)
