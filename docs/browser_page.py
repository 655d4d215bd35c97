"""Sphinx extension: adds the model and ONNX Runtime Web to the page `try.md` of the site."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from higherhrnet.cli.export import export
from higherhrnet.cli.options import SettingsOptions
from higherhrnet.graph.export import read_network

_ROOT = Path(__file__).parent.parent
_RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_LOGGER = logging.getLogger(__name__)


def add_files(app: Sphinx, exception: Exception | None) -> None:
    """Writes `_static/try`: the exported bundled model, its skeleton, an image and the runtime.

    The runtime is the npm package `onnxruntime-web`, which is searched for in the folder of the
    environment variable HIGHERHRNET_NODE_MODULES (default: tests/javascript/node_modules). Without
    it, the folder is not written, and the page says so.
    """
    if exception or app.builder.format != "html":
        return
    installed = _ROOT / "tests" / "javascript" / "node_modules"
    modules = Path(os.environ.get("HIGHERHRNET_NODE_MODULES", installed))
    runtime, out = modules / "onnxruntime-web" / "dist", Path(app.outdir, "_static", "try")
    if not runtime.is_dir():
        _LOGGER.info("try.md: without the model, since %s does not exist", runtime)
        return
    out.mkdir(parents=True, exist_ok=True)
    for name in _RUNTIME:
        shutil.copy(runtime / name, out / name)
    shutil.copy(_ROOT / "examples" / "basketball1.png", out / "example.png")
    export("default", out / "people.onnx", decode=True, settings=SettingsOptions(fast=True))
    skeleton = read_network(out / "people.onnx")[1].skeleton
    limbs = {"names": skeleton.names, "limbs": skeleton.limb_index}
    (out / "skeleton.json").write_text(json.dumps(limbs), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Registers the handler."""
    app.connect("build-finished", add_files)
