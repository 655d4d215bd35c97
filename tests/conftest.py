"""Fixtures that several tests share: golden arrays, and a small network in both file formats."""

import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

HIDE_PACKAGES = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split(".")[0] in {names!r} else find(name, *rest)
)
"""
"""Python code that hides installed packages in its process; `names` is the list of packages."""


def pytest_configure() -> None:
    """Restores the handling of Ctrl-C, which background jobs of a shell ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of arrays that the reference implementation computed."""
    return Path(os.environ.get("HIGHERHRNET_GOLDEN", Path(__file__).parent / "golden"))


class ModelFiles(NamedTuple):
    safetensors: Path
    onnx: Path


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """A small untrained network for 64 pixels whose heatmaps have peaks above the threshold.

    It has one module and block per stage, because the export takes seconds for every block.
    """
    torch = pytest.importorskip("torch")
    from higherhrnet.config import InputConfig, ModelConfig
    from higherhrnet.header import Header
    from higherhrnet.network import checkpoint
    from higherhrnet.network.export import export_onnx
    from higherhrnet.network.higherhrnet import HigherHRNet

    torch.manual_seed(0)
    config = ModelConfig(4, modules=(1, 1, 1), blocks=1, deconv_blocks=1)
    model = HigherHRNet.from_config(config).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    with torch.no_grad():
        for final, maps in zip(model.final_layers, model(torch.randn(1, 3, 64, 64)), strict=True):
            final.weight /= 4 * maps[:, :17].std()
    header = Header(config, input=InputConfig(64))
    folder = tmp_path_factory.mktemp("small_model")
    checkpoint.save(folder / "small.safetensors", model, header)
    export_onnx(model, header, folder / "small.onnx")
    return ModelFiles(folder / "small.safetensors", folder / "small.onnx")
