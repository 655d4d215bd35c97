"""A stem of one's own, in a backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from higherhrnet.errors import InputError
from higherhrnet.network import hrnet
from higherhrnet.network.hrnet import HRNet
from higherhrnet.network.stems.stem import Stem
from higherhrnet.training.pretrained import load_backbone


class OneConvolution(Stem):
    """A stem with features at stride 4 only."""

    channels = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the convolution."""
        return [self.conv(images)]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> HRNet:
    monkeypatch.setitem(hrnet.STEMS, "movenet", OneConvolution)
    return HRNet(4, stem="movenet", modules=(1, 1, 1), blocks=1).eval()


def test_a_stem_with_features_at_stride_4_starts_all_branches(network: HRNet) -> None:
    with torch.inference_mode():
        features = network(torch.randn(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3)
    ]  # fmt: skip


def test_a_stem_without_published_weights_is_not_initialized_from_a_file(
    network: HRNet, tmp_path: Path
) -> None:
    torch.save({}, tmp_path / "stem.pth")
    with pytest.raises(InputError, match=r"stem OneConvolution are read only from \.safetensors"):
        load_backbone(network, tmp_path / "stem.pth")
