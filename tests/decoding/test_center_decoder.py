"""Decoding by centers, peaks and offsets, on maps whose people are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray
from higherhrnet.config.centers import CenterDecodeConfig
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.decoding.center_decoder import CenterDecoder
from higherhrnet.decoding.decoders import load_decoder
from higherhrnet.errors import InputError
from higherhrnet.geometry import Resize
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.maps import synthesize_all_outputs

SIZE = 128, 192
COUNT = len(COCO)
HEADER = Header(
    ModelConfig(head="tags-and-offsets", deconv_kernels=()),
    input=InputConfig(convention="unbiased"),
)


def people_in(seed: int = 0) -> FloatArray:
    """Two people whose keypoints are in the centers of cells of stride 4."""
    rng = np.random.default_rng(seed)
    corner, side = np.array([[[8.0, 8.0]], [[100.0, 30.0]]]), np.array([70.0, 80.0])
    return np.asarray((corner + side * rng.random((2, COUNT, 2))) // 4 * 4 + 2, np.float32)


def exact_outputs(keypoints: FloatArray, size: tuple[int, int], flip: bool) -> list[FloatArray]:
    """The outputs of a perfect network for (P, K, 2) people, from the edge of the input."""
    height, width = size[0] // 4, size[1] // 4
    rows, columns = np.indices((height, width)) + 0.5
    views = []
    for view in range(1 + flip):
        points = keypoints.astype(np.float64)
        if view:
            points[..., 0] = size[1] - points[..., 0]
            points = points[:, COCO.flip_index]
        points /= 4
        x, y = points[..., 0, None, None], points[..., 1, None, None]
        heatmaps = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2).max(0)
        middle = points.mean(1)
        across, down = (middle[:, axis, None, None] for axis in (0, 1))
        distance = (columns - across) ** 2 + (rows - down) ** 2
        target = points[distance.argmin(0)].transpose(2, 3, 0, 1)
        offsets = (np.stack([columns, rows]) - target).reshape(2 * COUNT, height, width)
        centers = np.exp(-distance / 4).max(0, keepdims=True)
        views.append((np.concatenate([heatmaps, 0 * heatmaps]), np.concatenate([centers, offsets])))
    return [np.stack(maps).astype(np.float32) for maps in zip(*views, strict=True)]


def decode(outputs: dict[float, list[FloatArray]], **settings: Any) -> Poses:  # noqa: ANN401
    config = InferenceConfig(decode=DecodeConfig(**settings))
    decoder = load_decoder(HEADER)
    assert isinstance(decoder, CenterDecoder)
    merged = {scale: decoder.merge_views(levels) for scale, levels in outputs.items()}
    maps = decoder.merge_scales(merged, SIZE, config)
    poses = decoder.decode(maps, Resize(SIZE, np.eye(2, 3), "unbiased"), config)
    return poses[np.argsort(poses.keypoints[:, :, 0].mean(1))]


@pytest.mark.parametrize("flip", [False, True])
def test_exact_maps_give_exact_people(flip: bool) -> None:
    people = people_in()
    poses = decode({1.0: exact_outputs(people, SIZE, flip)})
    np.testing.assert_allclose(poses.keypoints, people - 0.5, atol=1e-3)
    assert (poses.keypoint_scores > 0.99).all() and (poses.scores > 0.9).all()


def test_two_scales_find_a_person_once() -> None:
    people = people_in()
    half = exact_outputs(people / np.float32(2), (SIZE[0] // 2, SIZE[1] // 2), True)
    poses = decode({1.0: exact_outputs(people, SIZE, True), 0.5: half})
    assert len(poses) == 2
    assert np.abs(poses.keypoints - (people - 0.5)).max() < 2.5


def test_keypoints_are_at_peaks_near_the_offsets_and_else_at_the_offsets() -> None:
    people = people_in()
    maps, centers = exact_outputs(people, SIZE, False)
    centers[:, 1::2] += 0.8  # cells, to the left
    maps[:, 3] = 0.01
    poses = decode({1.0: [maps, centers]})
    expected = people - 0.5
    expected[:, 3, 0] -= 4 * 0.8
    np.testing.assert_allclose(poses.keypoints, expected, atol=1e-3)
    np.testing.assert_allclose(poses.keypoint_scores[:, 3], 0.01, atol=1e-6)
    missing = np.delete(np.ones(COUNT), 3).sum() / COUNT
    assert (poses.scores < 0.99 * missing + 0.02).all()


def test_an_unlikely_match_is_not_made() -> None:
    people = people_in()
    maps, centers = exact_outputs(people, SIZE, False)
    centers[:, 1::2] += 2
    strict = CenterDecodeConfig(match_sigma=0.01)
    near, exact = decode({1.0: [maps, centers]}), decode({1.0: [maps, centers]}, centers=strict)
    np.testing.assert_allclose(near.keypoints, people - 0.5, atol=1e-3)
    np.testing.assert_allclose(exact.keypoints, people - 0.5 - [8, 0], atol=1e-3)


def test_the_settings_of_centers_select_people() -> None:
    people = people_in()
    maps, centers = exact_outputs(people, SIZE, False)
    left = centers[..., : SIZE[1] // 8]
    left[:, 0] *= 0.4
    for min_center, count in ((0.1, 2), (0.5, 1)):
        config = CenterDecodeConfig(min_center=min_center)
        assert len(decode({1.0: [maps, centers]}, centers=config)) == count
    double = centers.copy()
    y, x = np.argwhere(centers[0, 0] == centers[0, 0].max())[0]
    double[0, 0, y, x - 2] = 0.9 * centers[0, 0, y, x]
    for similarity, count in ((0.5, 2), (1.0, 3)):
        config = CenterDecodeConfig(max_similarity=similarity)
        assert len(decode({1.0: [maps, double]}, centers=config)) == count


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("num_people", [0, 1, 7])
def test_synthetic_outputs_have_the_number_of_people(num_people: int, flip: bool) -> None:
    outputs = synthesize_all_outputs(num_people, *SIZE, 1, flip=flip)
    assert [len(level) for level in outputs] == 3 * [1 + flip]
    assert len(decode({1.0: list(outputs)})) == num_people


def test_drawable_maps_have_tags_centers_and_offsets() -> None:
    decoder = load_decoder(HEADER)
    levels = synthesize_all_outputs(2, *SIZE, 1)
    maps = decoder.merge_scales({1.0: decoder.merge_views(levels)}, SIZE, InferenceConfig())
    drawable = decoder.drawable(maps)
    assert drawable.heatmaps.shape == (COUNT, SIZE[0] // 2, SIZE[1] // 2)
    assert drawable.tags is not None and drawable.tags.shape == (*drawable.heatmaps.shape, 2)
    assert drawable.centers is not None and drawable.centers.shape == (SIZE[0] // 4, SIZE[1] // 4)
    assert drawable.offsets is not None and len(drawable.offsets) == 2 * COUNT


@pytest.mark.parametrize("level", [0, 1])
def test_maps_with_nan_are_rejected(level: int) -> None:
    outputs = exact_outputs(people_in(), SIZE, False)
    outputs[level][0, 3, 2, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        decode({1.0: outputs})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"min_center": 1.0}, "min_center must be at least 0 and below 1"),
        ({"min_match": -0.1}, "min_match must be at least 0 and below 1"),
        ({"max_similarity": 0.0}, "max_similarity must be above 0 and at most 1"),
        ({"match_sigma": 0.0}, "match_sigma must be above 0"),
    ],
)
def test_invalid_settings_are_rejected(setting: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CenterDecodeConfig(**setting)


def test_the_settings_are_stored_in_the_header_and_old_headers_have_the_defaults() -> None:
    decode_config = DecodeConfig(centers=CenterDecodeConfig(min_center=0.3, match_sigma=0.4))
    header = replace(HEADER, inference=InferenceConfig(decode=decode_config))
    metadata = header.to_metadata()
    assert Header.from_metadata(metadata, "a.onnx") == header
    old = {Header.KEY: '{"inference": {"decode": {"min_peak": 0.2}}}'}
    assert Header.from_metadata(old, "old.onnx").inference.decode.centers == CenterDecodeConfig()
