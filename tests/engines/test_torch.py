"""Merging where the network runs gives the same people; a CPU stands for the GPU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from higherhrnet import Predictor
from higherhrnet.arrays import Image
from higherhrnet.config import Header, InferenceConfig, InputConfig
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.inference.gpu import GpuProcessing
from higherhrnet.io.images import read_image
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.models import resolve_model, torch_weights

torch = pytest.importorskip("torch")

from higherhrnet.network import checkpoint  # noqa: E402
from higherhrnet.network.higherhrnet import HigherHRNet  # noqa: E402

PHOTOGRAPH = Path(__file__).parents[2] / "examples" / "basketball1.png"


def scenes() -> list[Image]:
    return [draw_scene(seed, height=64 + 32 * (seed % 2), width=80).image for seed in range(5)]


def photographs() -> list[Image]:
    """Two men, and each of them alone: pictures of two sizes."""
    picture = read_image(PHOTOGRAPH)
    return [picture, picture[:, :330], picture[:, 330:]]


@pytest.mark.parametrize(
    "test",
    [
        InferenceConfig(flip=False),
        InferenceConfig(flip=True),
        InferenceConfig(flip=True, align_flip=True),
        InferenceConfig(flip=True, project=False),
        InferenceConfig(flip=True, scales=(0.5, 1.0)),
    ],
    ids=["plain", "flip", "aligned", "unprojected", "scales"],
)
def test_the_same_people_as_on_the_cpu(test: InferenceConfig) -> None:
    model, header = checkpoint.load(torch_weights(resolve_model("default")))
    test = replace(test, size=192, decode=header.inference.decode)
    engine = TorchEngine(model, "cpu")
    usual = Predictor(engine, header, test)
    there = Predictor(engine, header, test, 4, GpuProcessing(engine, header))
    pictures = photographs()
    for ours, theirs in zip(there(pictures), usual(pictures), strict=True):
        assert len(ours) == len(theirs) > 0
        np.testing.assert_allclose(ours.keypoint_scores, theirs.keypoint_scores, atol=1e-4)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)
        np.testing.assert_allclose(ours.keypoints, theirs.keypoints, atol=1e-2)


@pytest.mark.parametrize("kernels", [(), (4, 4)])
def test_any_number_of_strides_and_one_tag_for_all(kernels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = HigherHRNet(4, tag_per_keypoint=False, deconv_kernels=kernels, deconv_blocks=1).eval()
    header, engine = Header(model.config, input=InputConfig(64)), TorchEngine(model, "cpu")
    usual, there = (
        Predictor(engine, header),
        Predictor(engine, header, processing=GpuProcessing(engine, header)),
    )
    maps = []
    for predictor in (usual, there):
        prepared = predictor.preprocess(scenes()[0])
        maps.append(predictor.merge_maps(prepared, predictor.forward([prepared])[0]))
    for ours, theirs in zip(vars(maps[1]).values(), vars(maps[0]).values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
