"""How Sphinx builds the pages: sphinx-build --fail-on-warning docs site."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

import higherhrnet

sys.path.append(str(Path(__file__).parent))  # verbs.py

project = "higherhrnet"
author = copyright = "the authors of higherhrnet"
version = release = higherhrnet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "verbs"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
autodoc_type_aliases = {
    name: name for name in ("Array", "Image", "Map", "Outputs", "Precision", "Source", "Views")
}
napoleon_numpy_docstring = False
default_role = "code"

html_theme = "furo"
html_title = "higherhrnet"
html_static_path = ["static"]
html_css_files = ["words.css"]
pygments_dark_style = "github-dark"
html_copy_source = html_show_sourcelink = html_show_copyright = False


def plain_types(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, *signature: str | None
) -> tuple[str | None, ...]:
    """A signature and what it returns, with types by the short names that the code has for them."""
    long = re.compile(
        r"TypeAliasForwardRef\('(\w+)'\)|\S*(ndarray)\[tuple\[\S*Any, \.{3}\], \S*dtype\[[^\]]+\]\]"
    )
    return tuple(part and long.sub(lambda found: found[1] or found[2], part) for part in signature)


def setup(app: Sphinx) -> None:
    """Asks for it."""
    app.connect("autodoc-process-signature", plain_types)
