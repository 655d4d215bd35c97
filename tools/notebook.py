"""Executes the notebook in examples and stores the outputs in it.

python -m tools.notebook examples/quickstart.ipynb
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import tyro
from nbclient import NotebookClient
from tyro.conf import Positional


def execute(notebook: Positional[Path], /, *, timeout: int = 600) -> None:
    """Executes a notebook in its own folder.

    Args:
        notebook: The .ipynb file, which is overwritten.
        timeout: Maximum number of seconds for each cell.
    """
    content = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(notebook.parent)}}
    NotebookClient(content, timeout=timeout, resources=resources).execute()
    for cell in content.cells:
        cell.metadata.pop("execution", None)  # times, which differ in every run
    nbformat.write(content, notebook)


if __name__ == "__main__":
    tyro.cli(execute)
