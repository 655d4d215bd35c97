"""What engines keep on disk: exported ONNX files and compiled models."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from higherhrnet import __version__
from higherhrnet.errors import InputError
from higherhrnet.io.cache import cache_folder

_MAX_FILES = 8
"""Files per subfolder: what trainings leave behind would otherwise fill the disk."""


def cache_subfolder(name: str) -> Path:
    """A subfolder of the cache, with room for one more file: the oldest files are deleted."""
    folder = cache_folder() / name
    with suppress(OSError):  # the folder is read-only, or another process deleted the file
        files = sorted(folder.glob("*.*"), key=lambda file: file.stat().st_mtime)
        for file in files[: 1 - _MAX_FILES]:
            file.unlink()
    return folder


def exported_onnx(path: Path) -> Path:
    """The ONNX form of a .safetensors file, exported at the first use and then cached.

    Raises:
        InputError: the file has to be exported and PyTorch is not installed, or the cache folder
            cannot be written.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    exported = cache_folder() / "exported" / f"{path.stem}-{digest}-{__version__}.onnx"
    if not exported.is_file():
        if not (find_spec("torch") and find_spec("safetensors")):
            raise InputError(
                f'{path}: without PyTorch only .onnx models run; pip install "higherhrnet[torch]", '
                "or export the model where PyTorch is installed: "
                f"higherhrnet export {path} {path.with_suffix('.onnx').name}"
            )
        from higherhrnet.network import checkpoint
        from higherhrnet.network.export import export_onnx

        cache_subfolder("exported")
        export_onnx(*checkpoint.load(path), exported)
    return exported
