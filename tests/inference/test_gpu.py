"""Tests that processing on the device of the network gives the results of processing on the CPU.

The tests use PyTorch's CPU device in place of a GPU, except where a CUDA device is present.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from higherhrnet import Predictor
from higherhrnet.arrays import Image
from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.decoding.whole_maps import resize
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError
from higherhrnet.geometry import Convention
from higherhrnet.inference.gpu import GpuProcessing
from higherhrnet.io.images import read_image
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.resolve import resolve_model, torch_weights

torch = pytest.importorskip("torch")

from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet

EXAMPLE = Path(__file__).parents[2] / "examples" / "basketball1.png"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def images_of_two_sizes() -> list[Image]:
    """An image of two people, and each person alone."""
    image = read_image(EXAMPLE)
    return [image, image[:, :330], image[:, 330:]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        InferenceConfig(flip=False),
        InferenceConfig(flip=True),
        InferenceConfig(flip=True, align_flip=True),
        InferenceConfig(flip=True, project=False),
        InferenceConfig(flip=True, scales=(0.5, 1.0)),
    ],
    ids=["plain", "flip", "aligned flip", "not projected", "scales"],
)
def test_poses_equal_those_of_cpu_processing(config: InferenceConfig) -> None:
    model, header = checkpoint.load(torch_weights(resolve_model("default")))
    config = replace(config, size=192, decode=header.inference.decode)
    engine = TorchEngine(model.to(DEVICE), DEVICE)
    cpu_predictor = Predictor(engine, header, config)
    gpu_predictor = Predictor(engine, header, config, 4, GpuProcessing(engine, header))
    images = images_of_two_sizes()
    for poses, expected in zip(gpu_predictor(images), cpu_predictor(images), strict=True):
        assert len(poses) == len(expected) > 0
        np.testing.assert_allclose(poses.keypoint_scores, expected.keypoint_scores, atol=1e-4)
        np.testing.assert_allclose(poses.scores, expected.scores, atol=1e-4)
        np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=1e-2)


def small_engine(
    convention: Convention = "reference", **architecture: object
) -> tuple[TorchEngine, Header]:
    torch.manual_seed(0)
    model = HigherHRNet(4, deconv_blocks=1, **architecture).eval()  # type: ignore[arg-type]
    engine = TorchEngine(model.to(DEVICE), DEVICE)
    return engine, Header(model.config, input=InputConfig(64, convention=convention))


@pytest.mark.parametrize("kernels", [(), (4, 4)])
def test_maps_equal_those_of_cpu_processing_for_any_number_of_strides_and_a_single_tag_map(
    kernels: tuple[int, ...],
) -> None:
    engine, header = small_engine(tag_per_keypoint=False, deconv_kernels=kernels)
    image = draw_scene(0, height=64, width=80).image
    maps = []
    for processing in (GpuProcessing(engine, header), None):
        predictor = Predictor(engine, header, processing=processing)
        preprocessed = predictor.preprocess(image)
        outputs = predictor.forward([preprocessed])[0]
        maps.append(predictor.drawable_maps(image, preprocessed, outputs)[1])
    for name in ("heatmaps", "tags"):
        np.testing.assert_allclose(getattr(maps[0], name), getattr(maps[1], name), atol=1e-5)


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0)])
def test_views_and_strides_are_merged_as_on_the_cpu_with_udp(scales: tuple[float, ...]) -> None:
    engine, header = small_engine("udp")
    config = InferenceConfig(size=128, scales=scales)
    merged = []
    for processing in (GpuProcessing(engine, header), None):
        predictor = Predictor(engine, header, config, processing=processing)
        preprocessed = predictor.preprocess(draw_scene(0, height=128, width=160).image)
        maps = predictor.merge_maps(preprocessed, predictor.forward([preprocessed])[0])
        merged.append([np.asarray(maps.heatmaps), np.asarray(maps.tags)])
    (heatmaps, tags), (expected_heatmaps, expected_tags) = merged
    np.testing.assert_allclose(tags, expected_tags, atol=1e-5)
    enlarged = resize(heatmaps, *expected_heatmaps.shape[1:], align_corners=True)
    np.testing.assert_allclose(enlarged, expected_heatmaps, atol=1e-5)


def test_an_error_of_the_device_is_reported_in_one_line() -> None:
    """Four channels instead of three cause an error of PyTorch; out of memory is another one."""
    engine, header = small_engine()
    processing = GpuProcessing(engine, header)
    message = r"^torch .* failed on a batch of shape \(1, 64, 64, 4\): The size of tensor a \(4\)"
    with pytest.raises(InputError, match=message) as error:
        processing.forward(np.zeros((1, 64, 64, 4), np.uint8), InferenceConfig())
    assert "\n" not in error.value.args[0]
