"""What `save` writes, `load` gives back; and everything else is refused in words."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from higherhrnet.config import Header, InferenceConfig, InputConfig, ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.skeleton import CROWDPOSE

CONFIG = ModelConfig(4, 14, tag_per_keypoint=False, deconv_kernels=(3, 4))
HEADER = Header(
    CONFIG,
    CROWDPOSE,
    InputConfig(640, mean=(0.1, 0.2, 0.3), convention="unbiased"),
    InferenceConfig(flip=False, scales=(0.5, 1, 2)),
    {"epochs": 3, "data": ["drawn"]},
)


def test_a_saved_network_loads_with_all_its_facts(tmp_path: Path) -> None:
    model = HigherHRNet.from_config(CONFIG).eval()
    checkpoint.save(tmp_path / "a.safetensors", model, HEADER)
    loaded, header = checkpoint.load(tmp_path / "a.safetensors")
    assert header == HEADER
    images = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        for a, b in zip(model(images), loaded(images), strict=True):
            assert torch.equal(a, b)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_half_precision_weights_load_as_float32(tmp_path: Path) -> None:
    model = HigherHRNet(4).half()
    checkpoint.save(tmp_path / "a.safetensors", model, Header(model.config))
    loaded, _ = checkpoint.load(tmp_path / "a.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_a_header_of_another_network_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="header says"):
        checkpoint.save(tmp_path / "a.safetensors", HigherHRNet(8), Header(ModelConfig(4)))
    assert not any(tmp_path.iterdir())


def test_missing_and_left_over_weights_are_listed(tmp_path: Path) -> None:
    state = HigherHRNet(4).state_dict()
    del state["conv1.weight"]
    state["stray"] = torch.zeros(1)
    state["bn1.weight"] = torch.zeros(3)
    path = tmp_path / "a.safetensors"
    save_file(state, path, metadata=Header(ModelConfig(4)).to_metadata())
    with pytest.raises(InputError) as error:
        checkpoint.load(path)
    message = str(error.value)
    assert "missing: conv1.weight" in message
    assert "left over: stray" in message
    assert "of another shape: bn1.weight is (3,), not (64,)" in message
    assert "\n" not in message


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        checkpoint.load(tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello there, this is text")
    with pytest.raises(InputError, match="not a safetensors file"):
        checkpoint.load(tmp_path / "text.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="no higherhrnet header"):
        checkpoint.load(tmp_path / "foreign.safetensors")


def test_a_header_with_nonsense_is_refused(tmp_path: Path) -> None:
    for old, new in [('"width": 4', '"width": -4'), ('"width": 4', '"widht": 4'), ("{", "")]:
        entry = Header(ModelConfig(4)).to_metadata()
        entry[Header.KEY] = entry[Header.KEY].replace(old, new, 1)
        save_file({"w": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=entry)
        with pytest.raises(InputError, match="header cannot be read"):
            checkpoint.load(tmp_path / "a.safetensors")


def test_a_skeleton_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="gives 14 keypoints"):
        replace(HEADER, skeleton=Header().skeleton)
