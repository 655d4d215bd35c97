"""Tests of the description of a model."""

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from higherhrnet.errors import InputError
from higherhrnet.inference.model_info import describe_model
from tests.conftest import HIDE_PACKAGES, ModelFiles


def lines(description: str) -> dict[str, str]:
    """The properties by name, without that of the file."""
    properties = dict(line.split(maxsplit=1) for line in description.splitlines())
    del properties["file"]
    return properties


def test_both_file_formats_have_the_same_description(small_model: ModelFiles) -> None:
    properties = lines(describe_model(small_model.onnx))
    assert properties == lines(describe_model(str(small_model.safetensors)))
    tensors = load_file(small_model.safetensors)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    count = sum(array.size for name, array in tensors.items() if not name.endswith(statistics))
    assert properties["parameters"] == f"{count:,}"
    assert properties["architecture"].startswith("stem hrnet, width 4, 17 heatmaps, 17 tag maps")
    assert properties["input"].startswith("shorter side 64 pixels")
    assert "flip: True" in properties["inference"] and "max_people: 30" in properties["decoding"]
    assert properties["training"] == "unknown"


def test_the_description_needs_no_pytorch(small_model: ModelFiles) -> None:
    code = HIDE_PACKAGES.format(names=["torch"]) + (
        "from higherhrnet.inference.model_info import describe_model\n"
        f"print(describe_model({str(small_model.safetensors)!r}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert lines(result.stdout) == lines(describe_model(small_model.safetensors))


@pytest.mark.parametrize("content", [b"", b"text", b"\x02" + 7 * b"\0" + b"[]"])
def test_files_of_other_formats_are_rejected_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors: is neither") as error:
        describe_model(path)
    assert "\n" not in error.value.args[0]
