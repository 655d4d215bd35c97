"""Weight files: `load` returns what `save` wrote, and rejects everything else with a message."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.graph.export import export_onnx
from higherhrnet.io.weights import read_weights
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.poses.skeletons import CROWDPOSE

CONFIG = ModelConfig(
    4, 14, tag_per_keypoint=False, deconv_kernels=(3, 4), modules=(1, 2, 1), blocks=2
)
HEADER = Header(
    CONFIG,
    CROWDPOSE,
    InputConfig(640, mean=(0.1, 0.2, 0.3), convention="unbiased"),
    InferenceConfig(flip=False, scales=(0.5, 1, 2)),
    {"epochs": 3, "data": ["drawn"]},
)


def test_load_returns_the_saved_network_and_header(tmp_path: Path) -> None:
    model = HigherHRNet.from_config(CONFIG).eval()
    checkpoint.save(tmp_path / "a.safetensors", model, HEADER)
    loaded, header = checkpoint.load(tmp_path / "a.safetensors")
    assert header == HEADER
    images = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        for a, b in zip(model(images), loaded(images), strict=True):
            assert torch.equal(a, b)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_half_precision_weights_are_loaded_as_float32(tmp_path: Path) -> None:
    model = HigherHRNet(4).half()
    checkpoint.save(tmp_path / "a.safetensors", model, Header(model.config))
    loaded, _ = checkpoint.load(tmp_path / "a.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_a_header_of_another_network_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="header describes"):
        checkpoint.save(tmp_path / "a.safetensors", HigherHRNet(8), Header(ModelConfig(4)))
    assert not any(tmp_path.iterdir())


def test_weights_of_an_earlier_version_named_backbone_are_loaded_into_the_stem(
    tmp_path: Path,
) -> None:
    model = HigherHRNet(4, stem="efficientnet-lite0", modules=(1, 1, 1), blocks=1)
    renamed = {re.sub("^stem", "backbone", name): w for name, w in model.state_dict().items()}
    assert "backbone.conv_stem.weight" in renamed
    save_file(renamed, tmp_path / "a.safetensors", metadata=Header(model.config).to_metadata())
    loaded, _ = checkpoint.load(tmp_path / "a.safetensors")
    state = model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


def test_missing_unexpected_and_misshapen_weights_are_listed(tmp_path: Path) -> None:
    state = HigherHRNet(4).state_dict()
    del state["conv1.weight"]
    state["unknown"] = torch.zeros(1)
    state["bn1.weight"] = torch.zeros(3)
    path = tmp_path / "a.safetensors"
    save_file(state, path, metadata=Header(ModelConfig(4)).to_metadata())
    with pytest.raises(InputError) as error:
        checkpoint.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: the weights do not match the network: ")
    assert 'Missing key(s) in state_dict: "conv1.weight"' in message
    assert 'Unexpected key(s) in state_dict: "unknown"' in message
    assert re.search(r"mismatch for bn1.weight: .*Size\(\[3\]\).*Size\(\[64\]\)", message)
    assert "\n" not in error.value.args[0]


def test_the_list_of_wrong_weights_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    state = {f"unknown{i}": torch.zeros(1) for i in range(999)}
    save_file(state, path, metadata=Header(ModelConfig(4)).to_metadata())
    with pytest.raises(
        InputError, match=r"Missing .* \[\.\.\.\] Unexpected .* \[\.\.\.\]$"
    ) as error:
        checkpoint.load(path)
    assert len(str(error.value)) < 2500


def test_files_that_are_not_models_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        checkpoint.load(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("This is a text file.")
    with pytest.raises(InputError, match="not a safetensors file"):
        checkpoint.load(tmp_path / "text.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="no higherhrnet header"):
        checkpoint.load(tmp_path / "foreign.safetensors")


def test_an_invalid_header_is_rejected(tmp_path: Path) -> None:
    for old, new in [('"width": 4', '"width": -4'), ('"width": 4', '"widht": 4'), ("{", "")]:
        entry = Header(ModelConfig(4)).to_metadata()
        entry[Header.KEY] = entry[Header.KEY].replace(old, new, 1)
        save_file({"w": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=entry)
        with pytest.raises(InputError, match="header is invalid"):
            checkpoint.load(tmp_path / "a.safetensors")


def test_a_skeleton_with_another_number_of_keypoints_is_rejected() -> None:
    with pytest.raises(InputError, match="has 14 keypoints"):
        replace(HEADER, skeleton=Header().skeleton)


SCALE_MAPS = ModelConfig(4, modules=(1, 1, 1), blocks=1, scale_maps=True)


def test_a_file_of_an_earlier_version_without_the_field_has_no_scale_maps(tmp_path: Path) -> None:
    model = HigherHRNet.from_config(replace(SCALE_MAPS, scale_maps=False))
    metadata = Header(model.config).to_metadata()
    values = json.loads(metadata[Header.KEY])
    del values["model"]["scale_maps"]
    metadata = {Header.KEY: json.dumps(values)}
    save_file(model.state_dict(), tmp_path / "a.safetensors", metadata=metadata)
    _, header = checkpoint.load(tmp_path / "a.safetensors")
    assert header == Header(model.config)


@pytest.mark.parametrize(
    ("in_file", "in_header", "message"),
    [(False, True, "Missing key"), (True, False, "Unexpected key")],
)
def test_scale_heads_that_do_not_match_the_header_are_rejected_in_one_line(
    in_file: bool, in_header: bool, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    state = HigherHRNet.from_config(replace(SCALE_MAPS, scale_maps=in_file)).state_dict()
    header = Header(replace(SCALE_MAPS, scale_maps=in_header))
    save_file(state, path, metadata=header.to_metadata())
    expected = rf"^{re.escape(str(path))}: .*{message}[^\n]*conv_scale_layers\.0\.0\.weight[^\n]*$"
    with pytest.raises(InputError, match=expected):
        checkpoint.load(path)
    with pytest.raises(InputError, match=expected.replace(path.name, ".*")):
        export_onnx(path, *read_weights(path))


def test_a_header_with_scale_maps_and_offsets_is_rejected_in_one_line(tmp_path: Path) -> None:
    metadata = Header(ModelConfig(head="offsets")).to_metadata()
    metadata[Header.KEY] = metadata[Header.KEY].replace('"scale_maps": false', '"scale_maps": true')
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(InputError, match=r"the header is invalid: scale maps .* not offsets$"):
        checkpoint.load(tmp_path / "a.safetensors")
