"""What the tests share: where the golden arrays are, and a small network in every form."""

import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

WITHOUT = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split(".")[0] in {names!r} else find(name, *rest)
)
"""
"""Python that makes packages look as if they were not installed; for a process of its own."""


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would all that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of arrays that the original computed."""
    return Path(os.environ.get("HIGHERHRNET_GOLDEN", Path(__file__).parent / "golden"))


class Model(NamedTuple):
    safetensors: Path
    onnx: Path


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small untrained network for 64 pixels whose maps have peaks above the threshold.

    Of each part it has one, since torch's exporter takes seconds for every block.
    """
    torch = pytest.importorskip("torch")
    from higherhrnet.config import Header, InputConfig, ModelConfig
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
        for final, level in zip(model.final_layers, model(torch.randn(1, 3, 64, 64)), strict=True):
            final.weight /= 4 * level[:, :17].std()
    header = Header(config, input=InputConfig(64))
    folder = tmp_path_factory.mktemp("lively")
    checkpoint.save(folder / "lively.safetensors", model, header)
    export_onnx(model, header, folder / "lively.onnx")
    return Model(folder / "lively.safetensors", folder / "lively.onnx")
