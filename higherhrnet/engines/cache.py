"""The files that engines cache on disk: exported ONNX files and compiled models."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from higherhrnet import __version__
from higherhrnet.errors import InputError
from higherhrnet.io.cache import cache_folder

_MAX_FILES = 8
"""Maximum number of files per subfolder; it limits the disk space for the models of trainings."""


def cache_subfolder(name: str) -> Path:
    """Makes room for one more file in a subfolder of the cache by deleting the oldest files.

    Returns:
        The subfolder, which may be missing.
    """
    folder = cache_folder() / name
    with suppress(OSError):  # the folder is read-only, or another process deleted the file
        files = sorted(folder.glob("*.*"), key=lambda file: file.stat().st_mtime)
        for file in files[: 1 - _MAX_FILES]:
            file.unlink()
    return folder


def exported_onnx(path: Path) -> Path:
    """Finds the cached ONNX export of a .safetensors file, and exports the file if there is none.

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
