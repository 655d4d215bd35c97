"""Images and folders are listed and read on any filesystem, each of them once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray")

import fsspec

from higherhrnet.errors import InputError
from higherhrnet.io.images import encode_image
from higherhrnet.ray.paths import deduplicate, locate
from higherhrnet.synthetic.scenes import draw_scene

IMAGE = draw_scene(0, height=64, width=64).image
TREE = ["b.png", "a/2.png", "a/10.JPG", ".trash/c.png", "a/.d.png", "a/e.txt", "ab/f.png"]
IMAGES = ["b.png", "a/10.JPG", "a/2.png", "ab/f.png"]


@pytest.fixture(params=["", "file://", "local://", "memory://"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A tree of files on a filesystem of pyarrow or fsspec."""
    uri = f"{request.param}{tmp_path}/tree"
    for name in TREE:
        with fsspec.open(f"{uri}/{name}", "wb", auto_mkdir=True) as file:
            file.write(encode_image(IMAGE, ".png"))
    return uri


def test_tree_is_listed_and_read(folder: str) -> None:
    root = locate(folder)
    paths = list(root.images())
    assert paths == [f"{root.path}/{name}" for name in IMAGES]
    assert list(locate(f"{folder}/b.png").images()) == paths[:1]
    np.testing.assert_array_equal(root.read(paths[1]), IMAGE)
    with pytest.raises(InputError, match=r"missing\.png: cannot be read"):
        root.read(f"{root.path}/missing.png")


def test_repeated_and_nested_sources_are_omitted(folder: str) -> None:
    inner = [f"{folder}/a", f"{folder}/a/2.png", f"{folder}/ab"]
    assert deduplicate([*inner, folder, folder]) == [folder]
    assert deduplicate([*inner, f"{folder}/a/"]) == [inner[0], inner[2]]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_cyclic_links_and_undecodable_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    if sys.platform == "linux":
        os.mkfifo(tmp_path / "c.png")
    (tmp_path / "b.png").write_bytes(b"")
    assert list(locate(str(tmp_path)).images()) == [str(tmp_path / "b.png")]
    (tmp_path / "a" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    with pytest.raises(InputError, match="a: cannot be listed"):
        list(locate(str(tmp_path)).images())
