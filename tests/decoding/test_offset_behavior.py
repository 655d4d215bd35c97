"""Decoding by offsets on maps whose people are known."""

from dataclasses import replace

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.offsets import OffsetDecodeConfig
from higherhrnet.decoding.decoders import load_decoder
from higherhrnet.decoding.offsets.centers import find_centers
from higherhrnet.decoding.offsets.gaussian_fit import fit_gaussians
from higherhrnet.decoding.offsets.offset_decoder import MIN_KEYPOINT_SCORE
from higherhrnet.decoding.offsets.pose_nms import suppress_poses
from higherhrnet.errors import InputError
from higherhrnet.geometry import Convention, Resize
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeletons import COCO

SIZE = 96, 128
COUNT = len(COCO)


def header(convention: Convention = "reference") -> Header:
    return Header(ModelConfig(head="offsets"), input=InputConfig(convention=convention))


def exact_outputs(
    keypoints: FloatArray, size: tuple[int, int], convention: Convention, flip: bool = False
) -> list[FloatArray]:
    """The outputs of a perfect network for (P, K, 2) people in pixels of the input."""
    first = {"reference": 0.0, "unbiased": 0.5}[convention]
    height, width = size[0] // 4, size[1] // 4
    rows, columns = np.indices((height, width))
    views = []
    for view in range(1 + flip):
        points = keypoints.astype(np.float64)
        if view:  # the flipped input, moved by 3 pixels in the reference convention
            mirror = size[1] - 4 if convention == "reference" else size[1]
            points[..., 0] = mirror - points[..., 0]
            points = points[:, COCO.flip_index]
        points = points / 4 - first  # in cells, where the center of the first cell is at 0
        people = np.concatenate([points, points.mean(1, keepdims=True)], 1)
        x, y = people[..., 0, None, None], people[..., 1, None, None]
        heatmaps = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).max(0)
        distance = (columns - x[:, -1]) ** 2 + (rows - y[:, -1]) ** 2
        target = points[distance.argmin(0)].transpose(2, 3, 0, 1)  # (K, 2, h, w)
        offsets = np.stack([columns, rows]) - target
        views.append((heatmaps, offsets.reshape(2 * COUNT, height, width)))
    return [np.stack(maps).astype(np.float32) for maps in zip(*views, strict=True)]


def people_in(seed: int = 0) -> FloatArray:
    """Two people, one on the left and one on the right."""
    rng = np.random.default_rng(seed)
    corner, side = np.array([[[6.0, 8.0]], [[70.0, 20.0]]]), np.array([40.0, 60.0])
    return np.asarray(corner + side * rng.random((2, COUNT, 2)), np.float32)


def decode(
    outputs: list[FloatArray], convention: Convention = "reference", **settings: object
) -> Poses:
    config = InferenceConfig(decode=DecodeConfig(offsets=OffsetDecodeConfig(**settings)))  # type: ignore[arg-type]
    decoder = load_decoder(header(convention))
    maps = decoder.merge_scales({1.0: decoder.merge_views(outputs)}, SIZE, config)
    return decoder.decode(maps, Resize(SIZE, np.eye(2, 3), convention), config)


@pytest.mark.parametrize("convention", ["reference", "unbiased"])
@pytest.mark.parametrize("flip", [False, True])
def test_exact_maps_give_exact_people(convention: Convention, flip: bool) -> None:
    people = people_in()
    poses = decode(exact_outputs(people, SIZE, convention, flip), convention)
    order = np.argsort(poses.keypoints[:, 0, 0])
    shift = 0.5 if convention == "unbiased" else 0  # poses count from the first pixel's center
    np.testing.assert_allclose(poses.keypoints[order], people - shift, atol=1e-3)
    assert (poses.scores > 0.7).all()


def test_scales_find_a_person_only_once() -> None:
    people, config = people_in(), InferenceConfig(scales=(0.5, 1, 2))
    decoder = load_decoder(header())
    scales = {}
    for scale in config.scales:
        size = int(SIZE[0] * scale), int(SIZE[1] * scale)
        outputs = exact_outputs(people * np.float32(scale), size, "reference")
        scales[scale] = decoder.merge_views(outputs)
    maps = decoder.merge_scales(scales, SIZE, config)
    poses = decoder.decode(maps, Resize(SIZE, np.eye(2, 3), "reference"), config)
    order = np.argsort(poses.keypoints[:, 0, 0])
    np.testing.assert_allclose(poses.keypoints[order], people, atol=1e-3)


def test_matching_moves_wrong_keypoints_to_the_peaks() -> None:
    people = np.rint(people_in() / 4) * 4  # peaks of the maps are at cells
    heatmaps, offsets = exact_outputs(people, SIZE, "reference")
    offsets += np.random.default_rng(1).uniform(-0.4, 0.4, (1, 2 * COUNT, 1, 1)).astype("f4")
    wrong, matched = decode([heatmaps, offsets]), decode([heatmaps, offsets], match=True)
    error = [
        np.abs(p.keypoints[np.argsort(p.keypoints[:, 0, 0])] - people) for p in (wrong, matched)
    ]
    assert error[0].mean() > 0.5
    assert np.median(error[1]) < 0.05


def test_keypoints_without_heat_are_kept_with_the_lowest_score() -> None:
    heatmaps, offsets = exact_outputs(people_in(), SIZE, "reference")
    heatmaps[:, 5] = -0.01
    poses = decode([heatmaps, offsets])
    assert poses.found.all()
    assert (poses.keypoint_scores[:, 5] == np.float32(MIN_KEYPOINT_SCORE)).all()
    assert Poses.from_coco(poses.to_coco(1)).found.all()


def test_nobody_is_found_in_empty_maps() -> None:
    outputs = [np.zeros((1, channels, 24, 32), np.float32) for channels in (COUNT + 1, 2 * COUNT)]
    assert len(decode(outputs)) == len(decode(outputs, match=True)) == 0


def test_people_whose_keypoints_are_in_one_place_are_found() -> None:
    people = np.full((1, COUNT, 2), 40, np.float32)
    assert len(decode(exact_outputs(people, SIZE, "reference"))) == 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 5)])
def test_maps_of_fewer_cells_than_people_are_searched(shape: tuple[int, int]) -> None:
    heatmap = np.ones(shape, np.float32)
    cells, values = find_centers(heatmap, 0.1, 30)
    assert sorted(cells.tolist()) == list(range(heatmap.size))
    assert (values == 1).all()


def row_of_poses(gaps: list[float]) -> FloatArray:
    """Copies of one pose that are moved to the right by the given gaps."""
    pose = np.random.default_rng(0).uniform(0, 100, (COUNT, 2))
    moves = np.cumsum([0, *gaps])[:, None, None] * np.array([1, 0])
    return np.asarray(pose + moves, np.float32)


def test_suppression_by_score_keeps_the_best_and_all_that_are_not_near() -> None:
    poses = row_of_poses([4, 4, 100])
    scores = np.array([0.5, 0.6, 0.7, 0.4], np.float32)
    settings = 0.05, COUNT // 2
    assert suppress_poses(poses, scores, *settings, "score", 30).tolist() == [2, 0, 3]
    # In the order of the reference implementation, two poses that are near each other may be kept.
    assert suppress_poses(poses, scores, *settings, "scale", 30).tolist() == [1, 2, 3]
    assert suppress_poses(poses, scores, *settings, "score", 2).tolist() == [2, 0]


def test_gaussians_are_fitted_exactly() -> None:
    rng = np.random.default_rng(0)
    y, x = (np.tile(axis.ravel(), (20, 1)) for axis in np.indices((13, 13)))
    truth = rng.uniform([0.2, 4, 4, 2], [1, 8, 8, 6], (20, 4))
    height, row, column, sigma = (values[:, None] for values in truth.T)
    values = height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))
    start = np.tile([0.5, 6.0, 6.0, 2.0], (20, 1))
    fitted, found = fit_gaussians(values.astype(np.float32), y, x, np.ones(y.shape, bool), start)
    assert found.all()
    np.testing.assert_allclose(fitted * [1, 1, 1, np.nan], truth * [1, 1, 1, np.nan], atol=1e-4)
    np.testing.assert_allclose(np.abs(fitted[:, 3]), truth[:, 3], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nms_order", "best"), ("min_center", -0.1), ("min_fit_score", 1.0), ("other_scales", 0.0),
        ("nms_distance", -1.0), ("nms_keypoints", -1), ("max_match_distance", -1.0),
    ],
)  # fmt: skip
def test_invalid_settings_are_rejected(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        replace(OffsetDecodeConfig(), **{name: value})  # type: ignore[arg-type]
