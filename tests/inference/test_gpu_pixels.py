"""Decoding on a device finds the people that decoding with NumPy finds.

The tests use PyTorch's CPU device in place of a GPU, except where a CUDA device is present.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.decoding.tag_decoder import TagDecoder
from higherhrnet.errors import InputError
from higherhrnet.geometry import Convention, resize_for_network
from higherhrnet.poses.poses import Poses
from higherhrnet.synthetic.maps import synthesize_outputs

torch = pytest.importorskip("torch")

from higherhrnet.inference.gpu_pixels import GpuTagDecoder, TensorMaps, TensorPixels
from higherhrnet.reference import decoder as reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZE = 256, 320


def decode(
    header: Header, scales: Mapping[float, Sequence[FloatArray]], config: InferenceConfig
) -> tuple[Poses, Poses]:
    """Decodes outputs of the network on the device and with NumPy, which both merge the scales."""
    cpu, device = TagDecoder(header), GpuTagDecoder(header)
    transform = resize_for_network(*SIZE, 256, 1, 1)
    merged = {scale: cpu.merge_views(levels) for scale, levels in scales.items()}
    tensors = {s: [torch.from_numpy(m).to(DEVICE) for m in maps] for s, maps in merged.items()}
    return (
        device.decode(device.merge_scales(tensors, SIZE, config), transform, config),
        cpu.decode(cpu.merge_scales(merged, SIZE, config), transform, config),
    )


def assert_same_people(
    scales: Mapping[float, Sequence[FloatArray]],
    config: InferenceConfig,
    convention: Convention = "reference",
) -> None:
    header = Header(ModelConfig(), input=InputConfig(256, convention=convention))
    poses, expected = decode(header, scales, config)
    assert len(poses) == len(expected) > 0
    np.testing.assert_allclose(poses.scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(poses.keypoint_scores, expected.keypoint_scores, atol=1e-5)
    np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=1e-3)


@pytest.mark.parametrize("people", [1, 5, 30])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("project", [True, False])
def test_people_equal_those_of_numpy(people: int, flip: bool, project: bool) -> None:
    outputs = synthesize_outputs(people, *SIZE, people, flip=flip)
    assert_same_people({1.0: outputs}, InferenceConfig(flip=flip, project=project))


@pytest.mark.parametrize(
    "decoding",
    [
        DecodeConfig(position_weight=2.0),
        DecodeConfig(peak_window=7, max_people=4, min_peak=0.3),
        DecodeConfig(adjust=False, refine=False),
    ],
    ids=["positions as tags", "few peaks", "without adjustment and refinement"],
)
@pytest.mark.parametrize("convention", ["reference", "udp"])
def test_settings_have_the_same_effect(decoding: DecodeConfig, convention: Convention) -> None:
    outputs = synthesize_outputs(5, *SIZE, 0)
    assert_same_people({1.0: outputs}, InferenceConfig(decode=decoding), convention)


@pytest.mark.parametrize("channels", [34, 18], ids=["a tag map per keypoint", "one tag map"])
def test_scales_are_merged_alike(channels: int) -> None:
    low, high = synthesize_outputs(4, *SIZE, 0)
    small_low, small_high = synthesize_outputs(4, 128, 160, 0)
    scales = {0.5: [small_low[:, :channels], small_high], 1.0: [low[:, :channels], high]}
    assert_same_people(scales, InferenceConfig(scales=(0.5, 1.0)))


def test_many_missing_keypoints_are_found_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("higherhrnet.inference.gpu_pixels._VALUES_PER_BATCH", 3 * 2 * 256 * 320)
    assert_same_people({1.0: synthesize_outputs(5, *SIZE, 1)}, InferenceConfig())


def test_equal_peaks_are_in_the_order_of_the_reference_implementation_on_the_device() -> None:
    """A plateau and many equal peaks: `torch.topk` decides the order and the choice."""
    rng = np.random.default_rng(0)
    heatmaps = torch.from_numpy(rng.integers(0, 12, (3, 64, 80)).astype(np.float32) / 16)
    heatmaps[1] = 0.625
    tags = torch.from_numpy(rng.standard_normal((3, 2, 64, 80)).astype(np.float32))
    heatmaps, tags = heatmaps.to(DEVICE), tags.to(DEVICE)
    pixels = TensorPixels(TensorMaps(heatmaps, tags, (), (64, 80), align_corners=False))
    peaks, peak_tags = pixels.find_peaks(DecodeConfig())
    places, scores, expected_tags = reference.nms_and_top_k(
        heatmaps[None], tags.permute(0, 2, 3, 1)[None]
    )
    strong = scores > DecodeConfig().min_peak
    np.testing.assert_array_equal(np.stack([peaks.x, peaks.y], 1), places[strong])
    np.testing.assert_array_equal(peaks.score, scores[strong])
    np.testing.assert_array_equal(peak_tags, expected_tags[strong])


def test_maps_with_nan_are_rejected() -> None:
    maps = [torch.zeros(17, 8, 8), torch.zeros(17, 2, 4, 4)]
    maps[1][-1, 0, 3, 3] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        GpuTagDecoder(Header(ModelConfig())).merge_scales({1.0: maps}, (16, 16), InferenceConfig())


def test_maps_without_people() -> None:
    low, high = (np.zeros_like(level) for level in synthesize_outputs(1, *SIZE, 0))
    poses, _ = decode(Header(ModelConfig()), {1.0: [low, high]}, InferenceConfig())
    assert len(poses) == 0


def test_maps_for_drawing_have_the_size_of_the_heatmaps() -> None:
    maps = TensorMaps(torch.zeros(17, 8, 8), torch.ones(1, 2, 4, 4), (), (8, 8), False)
    drawn = GpuTagDecoder(Header(ModelConfig())).drawable(maps)
    assert drawn.heatmaps.shape == (17, 8, 8)
    assert drawn.tags is not None and drawn.tags.shape == (1, 8, 8, 2)
