"""The files that engines cache on disk: exported ONNX files and compiled models."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from higherhrnet import __version__
from higherhrnet.io.cache import cache_folder, writing_to_cache

_MAX_FILES = 8
"""Maximum number of files per subfolder; it limits the disk space for the models of trainings."""


def cache_subfolder(name: str) -> Path:
    """Makes room for one more file in a subfolder of the cache by deleting the oldest files.

    Files in folders within the subfolder count as well; folders that become empty are deleted.

    Returns:
        The subfolder, which may be missing.
    """
    folder = cache_folder() / name
    with suppress(OSError):  # the folder is read-only, or another process deleted the file
        files = sorted(folder.rglob("*.*"), key=lambda file: file.stat().st_mtime)
        for file in files[: 1 - _MAX_FILES]:
            file.unlink()
            with suppress(OSError):  # the folder has other files
                file.parent.rmdir()
    return folder


def exported_onnx(path: Path) -> Path:
    """Finds the cached ONNX export of a .safetensors file, and exports the file if there is none.

    Raises:
        InputError: the file is not a model of this package, or the cache folder cannot be
            written.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    exported = cache_folder() / "exported" / f"{path.stem}-{digest}-{__version__}.onnx"
    if not exported.is_file():
        # Imported here, since onnx takes 0.2 s to import, and safetensors 0.1 s.
        from higherhrnet.graph.export import export_onnx
        from higherhrnet.io.weights import read_weights

        cache_subfolder("exported")
        with writing_to_cache():
            export_onnx(exported, *read_weights(path))
    return exported
