"""The metadata of ONNX files, which is read without the package onnx."""

from pathlib import Path

import onnx
import pytest

from higherhrnet.io.onnx_metadata import read_onnx_metadata

EXAMPLE = Path(__file__).parents[2] / "examples" / "drawn.onnx"


def write_model(path: Path, metadata: dict[str, str]) -> bytes:
    """Writes a model without nodes; returns the file."""
    graph = onnx.helper.make_graph([], "empty", [], [])
    model = onnx.helper.make_model(graph, producer_name="test", doc_string="é" * 300)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path.read_bytes()


def test_the_metadata_equals_that_of_onnx(tmp_path: Path) -> None:
    expected = {entry.key: entry.value for entry in onnx.load(EXAMPLE).metadata_props}
    assert expected and read_onnx_metadata(EXAMPLE) == expected
    for metadata in ({}, {"a": "é" * 1000, "b": "", "": "c"}):
        write_model(tmp_path / "a.onnx", metadata)
        assert read_onnx_metadata(tmp_path / "a.onnx") == metadata


def test_fields_after_the_graph_are_found_in_any_order(tmp_path: Path) -> None:
    data = write_model(tmp_path / "a.onnx", {"a": "1"})
    more = write_model(tmp_path / "b.onnx", {"b": "2"})
    # A protocol buffer may have its fields in any order, and be joined with another.
    (tmp_path / "c.onnx").write_bytes(more + data)
    assert read_onnx_metadata(tmp_path / "c.onnx") == {"a": "1", "b": "2"}


def test_invalid_files_are_rejected(tmp_path: Path) -> None:
    data = write_model(tmp_path / "a.onnx", {"a": "1"})
    model = onnx.ModelProto()
    for length in range(len(data)):
        path = tmp_path / "truncated.onnx"
        path.write_bytes(data[:length])
        try:
            model.ParseFromString(data[:length])
            is_valid = length > 0
        except Exception:  # the error types of protobuf's implementations differ
            is_valid = False
        if is_valid:
            read_onnx_metadata(path)
        else:
            with pytest.raises(ValueError, match=r"."):
                read_onnx_metadata(path)
    for content in (b"text", b"\xff" * 100, b"\x08\x01" * 20_000, b"<html></html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            read_onnx_metadata(path)
