"""Decoding by offsets against what the code of DEKR's authors computes, stage by stage."""

import json
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import ModelConfig
from higherhrnet.config.offsets import OffsetDecodeConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.decoding.offsets.centers import find_centers
from higherhrnet.decoding.offsets.match import move_to_fits, move_to_peaks
from higherhrnet.decoding.offsets.offset_decoder import (
    OffsetDecoder,
    decode_offsets,
    heat_values,
    regress_poses,
    regress_scale,
)
from higherhrnet.decoding.offsets.offset_maps import OffsetMaps, merge_scales, merge_views
from higherhrnet.decoding.offsets.pose_nms import suppress_poses
from higherhrnet.decoding.rescore import pose_features, predict_accuracy
from higherhrnet.geometry import resize_for_network
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE

pytestmark = pytest.mark.golden
SKELETONS = {17: COCO, 14: CROWDPOSE}
LINKS = {
    17: "0-1 0-2 1-2 1-3 2-4 3-5 4-6 5-6 5-7 5-11 6-8 6-12 7-9 8-10 11-12 11-13 12-14 13-15 14-16",
    14: "12-13 13-0 13-1 0-2 1-3 2-4 3-5 0-6 1-7 6-8 7-9 8-10 9-11 6-7 0-1",
}


def load_case(arrays: Any, case: str) -> tuple[dict[str, Any], OffsetMaps, Skeleton]:  # noqa: ANN401
    meta = json.loads(str(arrays[f"{case}/meta"]))
    skeleton = SKELETONS[meta["keypoints"]]
    merged = {}
    for scale in meta["scales"]:
        views = [f"{case}/scale{scale}/view{v}" for v in range(1 + meta["flip"])]
        levels = [
            np.concatenate([arrays[f"{view}/{level}"] for view in views]).astype(np.float32)
            for level in ("heatmap", "offset")
        ]
        merged[float(scale)] = merge_views(levels, skeleton.flip_index)
    width, height = meta["base_width_height"]
    return meta, merge_scales(merged, (height, width), 0.0), skeleton


def cases(arrays: Any, prefix: str) -> list[str]:  # noqa: ANN401
    found = sorted({key.split("/")[0] for key in arrays if key.startswith(prefix)})
    assert found
    return found


def decode_config(meta: dict[str, Any]) -> DecodeConfig:
    offsets = OffsetDecodeConfig(nms_distance=meta.get("nms_threshold"))
    return DecodeConfig(offsets=replace(offsets, other_scales=meta.get("decrease", 1.0)))


def rescoring(num_keypoints: int, seed: int) -> RescoringNetwork:
    """The rescoring network with weights by the rule in golden_dekr/README.md."""
    links = [tuple(map(int, link.split("-"))) for link in LINKS[num_keypoints].split()]
    inputs = 3 * len(links) + num_keypoints
    layers = []
    for name, shape in (("l1", (256, inputs)), ("l2", (256, 256)), ("l3", (1, 256))):
        rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{name}.weight".encode()) + seed))
        weight = rng.standard_normal(shape) * np.sqrt(2 / math.prod(shape[1:]))
        rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{name}.bias".encode()) + seed))
        bias = rng.uniform(-0.1, 0.1, shape[:1])
        layers.append((weight.astype(np.float32), bias.astype(np.float32)))
    return RescoringNetwork.from_layers(layers, num_keypoints, links, (9, 11))  # type: ignore[arg-type]


def seed(folder: Path) -> int:
    return int((folder / "seed.txt").read_text())


def test_merged_maps_and_poses_equal_the_reference(golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "aggregate.npz")
    for case in cases(arrays, "case"):
        meta, maps, _ = load_case(arrays, case)
        height, width = maps.decode_size
        count = meta["keypoints"]
        for scale in meta["scales"]:
            heatmaps, offsets = maps.scales[float(scale)]
            expected = arrays[f"{case}/scale{scale}/heatmap"][0]
            np.testing.assert_allclose(heatmaps, expected, atol=1e-5)
            rows, columns = np.indices(heatmaps.shape[1:])
            positions = np.stack([columns, rows] * count) - offsets
            expected = arrays[f"{case}/scale{scale}/posemap"][0]
            np.testing.assert_allclose(positions, expected, atol=1e-4)
            keypoints, centers = regress_scale(maps, float(scale), DecodeConfig())
            expected = arrays[f"{case}/scale{scale}/poses"]
            np.testing.assert_allclose(keypoints, expected[..., :2], atol=1e-3)
            np.testing.assert_allclose(centers, expected[:, 0, 2], atol=1e-6)
        y, x = np.indices((height, width))
        for k, expected in zip(
            (0, 3, count // 2, count), arrays[f"{case}/heatmap"][0], strict=True
        ):
            values = maps.heatmap_values(k, y, x)
            np.testing.assert_allclose(values, expected, atol=1e-5)


def test_enlarged_maps_equal_the_reference(golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "aggregate.npz")
    for factor in (2, 4, 8):
        values, expected = arrays[f"enlarge{factor}/map"][0], arrays[f"enlarge{factor}/enlarged"][0]
        maps = merge_scales({1.0: (values, values)}, expected.shape[1:], 0.0)
        y, x = np.indices(expected.shape[1:])
        for k in range(len(values)):
            enlarged = maps.heatmap_values(k, y, x)
            np.testing.assert_allclose(enlarged, expected[k], atol=1e-6)


def test_the_flipped_view_equals_the_reference(golden_dekr: Path) -> None:
    from higherhrnet.decoding.whole_maps import flip_horizontally
    from higherhrnet.geometry import FLIP_SHIFT

    arrays = np.load(golden_dekr / "aggregate.npz")
    flipped = flip_horizontally(arrays["mirror/image"][0])
    flipped[:, :, :-FLIP_SHIFT] = flipped[:, :, FLIP_SHIFT:].copy()
    assert np.array_equal(flipped, arrays["mirror/shown"][0])


def test_centers_equal_the_reference(golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "aggregate.npz")
    for case in cases(arrays, "centres"):
        heatmap = arrays[f"{case}/heatmap"].astype(np.float32)
        cells, values = find_centers(heatmap, 0.01, 30)
        assert np.array_equal(cells, arrays[f"{case}/places"]), case
        assert np.array_equal(values, arrays[f"{case}/scores"])


def test_every_stage_of_decoding_equals_the_reference(golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "decode.npz")
    for case in cases(arrays, "case"):
        meta, maps, skeleton = load_case(arrays, case)
        config = decode_config(meta)
        for scale in meta["scales"]:
            keypoints, centers = regress_scale(maps, float(scale), config)
            expected = arrays[f"{case}/scale{scale}/raw"]
            np.testing.assert_allclose(keypoints, expected[..., :2], atol=1e-4, err_msg=case)
            np.testing.assert_allclose(centers[:, None], expected[..., 2][:, :1], atol=1e-6)
        people = decode_offsets(maps, config)
        expected = arrays[f"{case}/poses"]
        assert len(people.scores) == len(expected), case
        np.testing.assert_allclose(people.keypoints, expected[..., :2], atol=1e-4)
        np.testing.assert_allclose(people.keypoint_scores, expected[..., 2], atol=1e-5)
        np.testing.assert_allclose(people.scores, arrays[f"{case}/scores"], atol=1e-5)
        if not len(expected):
            continue
        poses = regress_poses(maps, config)
        heat = heat_values(poses.keypoints, maps)
        expected = arrays[f"{case}/scored/coordinates"]
        np.testing.assert_allclose(poses.keypoints, expected, atol=1e-4)
        np.testing.assert_allclose(heat, arrays[f"{case}/scored/heat_values"], atol=1e-5)
        np.testing.assert_allclose(heat.mean(1), arrays[f"{case}/scored/heat_score"], atol=1e-5)
        distance, count = meta["nms_threshold"], meta["nms_keypoints"]
        assert count == len(skeleton) // 2
        kept = suppress_poses(poses.keypoints, heat.mean(1), distance, count, "scale", 1000)
        assert np.array_equal(kept, arrays[f"{case}/kept"]), case


def test_poses_in_the_image_and_rescored_equal_the_reference(golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "decode.npz")
    for case in cases(arrays, "case"):
        if f"{case}/in_image" not in arrays:
            continue
        meta, maps, skeleton = load_case(arrays, case)
        model = ModelConfig(num_keypoints=len(skeleton), head="offsets")
        network = rescoring(len(skeleton), seed(golden_dekr))
        decoder = OffsetDecoder(Header(model, skeleton, rescoring=network))
        h, w = meta["image_height_width"]
        transform = resize_for_network(h, w, meta["input_size"])
        assert (transform.height, transform.width) == maps.decode_size
        config = InferenceConfig(decode=decode_config(meta))
        poses = decoder.decode(maps, transform, config)
        expected = arrays[f"{case}/in_image"]
        np.testing.assert_allclose(poses.keypoints, expected[..., :2], atol=1e-4)
        np.testing.assert_allclose(poses.keypoint_scores, expected[..., 2], atol=2e-5)
        np.testing.assert_allclose(poses.scores, arrays[f"{case}/rescored"], atol=1e-5)


def test_suppression_equals_the_reference(golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "decode.npz")
    for case in cases(arrays, "nms"):
        meta = json.loads(str(arrays[f"{case}/meta"]))
        poses, scores = arrays[f"{case}/poses"], arrays[f"{case}/heat_score"]
        settings = meta["nms_threshold"], meta["nms_keypoints"]
        kept = suppress_poses(poses, scores, *settings, "scale", 1000)
        assert np.array_equal(kept, arrays[f"{case}/kept"]), case


def test_matching_equals_the_reference(golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "decode.npz")
    compared = [case for case in cases(arrays, "case") if f"{case}/absorbed" in arrays]
    assert compared
    for case in compared:
        meta, maps, _ = load_case(arrays, case)
        config = decode_config(meta)
        people = decode_offsets(maps, config)
        absorbed = move_to_peaks(people.keypoints, maps, 75)
        np.testing.assert_allclose(absorbed, arrays[f"{case}/absorbed"][..., :2], atol=1e-4)
        adjusted = move_to_fits(absorbed, people.keypoint_scores > 0.05, maps, exact=False)
        expected = arrays[f"{case}/adjusted"][..., :2]
        np.testing.assert_allclose(adjusted, expected, atol=1e-3, rtol=1e-3)
        offsets = replace(config.offsets, match=True)
        matched = decode_offsets(maps, replace(config, offsets=offsets))
        np.testing.assert_allclose(matched.keypoints, adjusted, atol=1e-4)


@pytest.mark.parametrize("case", ["coco", "crowdpose"])
def test_rescoring_equals_the_reference(case: str, golden_dekr: Path) -> None:
    arrays = np.load(golden_dekr / "rescore.npz")
    poses, scores = arrays[f"{case}/poses"], arrays[f"{case}/scores"]
    network = rescoring(poses.shape[1], seed(golden_dekr))
    features = pose_features(poses[..., :2], poses[..., 2], network)
    np.testing.assert_allclose(features, arrays[f"{case}/feature"], rtol=1e-5, atol=1e-5)
    similarity = predict_accuracy(features, network)
    expected = np.nan_to_num(arrays[f"{case}/oks"][:, 0])
    np.testing.assert_allclose(similarity, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        scores * similarity, arrays[f"{case}/rescored"], rtol=1e-4, atol=1e-5
    )
