"""A Sphinx directive, `published-models`, that shows a card for each published model."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from higherhrnet.poses.skeletons import SKELETONS
from higherhrnet.zoo.published import PUBLISHED
from higherhrnet.zoo.published_model import PublishedModel
from higherhrnet.zoo.table import model_cells

METHODS = {"tags": "HigherHRNet", "offsets": "DEKR"}
PUBLISHERS = {
    "authors": "the authors of HigherHRNet",
    "mmpose": "MMPose",
    "imagenet": "the authors of HRNet",
}


COLUMNS = {
    "keypoints": True, "input": True, "AP, one scale": True, "AP, several scales": True,
    "evaluated on": False, "parameters": True, "latency": True, "license": False,
}  # fmt: skip
"""The columns of the table, and whether they are numbers; the other values are on the cards."""


def table() -> str:
    """Returns a table of all models in Markdown, with links to their cards."""
    rule = "|".join("---:" if is_number else "---" for is_number in COLUMNS.values())
    lines = [f"| name | {' | '.join(COLUMNS)} |", f"|---|{rule}|"]
    for model in PUBLISHED:
        cells = model_cells(model)
        values = " | ".join(cells[name] for name in COLUMNS)
        lines.append(f"| [{model.name}](#{model.name}) | {values} |")
    return "\n".join(lines)


def card(model: PublishedModel) -> str:
    """Returns the card of a model in Markdown."""
    publisher = PUBLISHERS[model.weight_format]
    keypoints = f"{len(SKELETONS[model.skeleton])} ({model.skeleton})" if model.skeleton else ""
    cells = model_cells(model)
    rows = {
        "Method": METHODS[model.head] if model.skeleton else "backbone for `--init`",
        "Published by": f"[{publisher}]({model.page})",
        "Keypoints": keypoints,
        "Size": f"{cells['parameters']} parameters, {cells['multiply-adds']} multiply-adds"
        if model.input_size
        else "",
        "File": f"<{model.url}>, {cells['file']}",
        "Digest": f"`{model.digest}`" if model.digest else "none published",
        "License": model.license,
        "Note": model.note,
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value]
    return "\n".join([f"### {model.name}", "", "| | |", "|---|---|", *lines])


class PublishedModels(SphinxDirective):
    """The table of all models, and a card for each."""

    def run(self) -> list[nodes.Node]:
        """Returns the sections."""
        cards = "\n\n".join(map(card, PUBLISHED))
        text = f"## All models\n\n{table()}\n\n## Cards\n\n{cards}"
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("published-models", PublishedModels)
    return {"parallel_read_safe": True}
