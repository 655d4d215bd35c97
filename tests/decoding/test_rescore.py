"""Rescoring with the other people of the image, against a loop over people and over boxes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import ModelConfig
from higherhrnet.config.offsets import OffsetDecodeConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.decoding.decoders import load_decoder
from higherhrnet.decoding.rescore import context_features, pose_features, rescore
from higherhrnet.errors import InputError
from higherhrnet.geometry import resize_for_network
from higherhrnet.poses.poses import Poses
from higherhrnet.synthetic.maps import synthesize_all_outputs

LINKS = [(0, 1), (5, 6), (11, 12), (5, 11)]
NUM_INPUTS = 3 * len(LINKS) + 17 + 5
IMAGE_SIZE, INPUT_SIZE = (300, 400), (192, 256)


def naive_context(keypoints: FloatArray, scores: FloatArray, side: float) -> list[list[float]]:
    boxes = [(*person.min(0).tolist(), *person.max(0).tolist()) for person in keypoints]
    rows = []
    for i, (left, top, right, bottom) in enumerate(boxes):
        area = (right - left) * (bottom - top)
        best_iou = best_inside = 0.0
        for j, other in enumerate(boxes):
            if i == j:
                continue
            width = min(right, other[2]) - max(left, other[0])
            height = min(bottom, other[3]) - max(top, other[1])
            if width > 0 and height > 0:
                shared = width * height
                other_area = (other[2] - other[0]) * (other[3] - other[1])
                best_iou = max(best_iou, shared / (area + other_area - shared))
                best_inside = max(best_inside, shared / area)
        size = math.log(max(math.sqrt(area) / side, 1e-3))
        rows.append([float(scores[i]), size, best_iou, best_inside, math.log(len(boxes))])
    return rows


@pytest.mark.parametrize("people", [1, 2, 9])
def test_context_features_equal_those_of_a_loop_over_people(people: int) -> None:
    rng = np.random.default_rng(people)
    corners, sides = rng.uniform(0, 200, (people, 1, 2)), rng.uniform(5, 150, (people, 1, 2))
    keypoints = (corners + sides * rng.random((people, 17, 2))).astype(np.float32)
    scores = rng.random(people, np.float32)
    features = context_features(keypoints, scores, 240)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, naive_context(keypoints, scores, 240), atol=1e-5)
    assert people < 9 or (features[:, 2:4] > 0.2).any(0).all()  # boxes overlap


def test_a_person_inside_another_and_people_at_a_point_have_finite_features() -> None:
    small = np.array([[[40, 40], [60, 60]]], np.float32)
    large = np.array([[[0, 0], [100, 100]]], np.float32)
    point = np.full((1, 2, 2), 500, np.float32)
    keypoints = np.concatenate([small, large, point, point])
    features = context_features(keypoints, np.zeros(4, np.float32), 100)
    np.testing.assert_allclose(features[:, 2], [0.04, 0.04, 0, 0], atol=1e-6)
    np.testing.assert_allclose(features[:, 3], [1, 0.04, 0, 0], atol=1e-6)
    np.testing.assert_allclose(features[2, 1], math.log(1e-3), rtol=1e-6)


def test_nobody_has_no_features() -> None:
    assert context_features(np.zeros((0, 17, 2)), np.zeros(0, np.float32), 100).shape == (0, 5)


def network_of(weights: FloatArray, bias: float) -> RescoringNetwork:
    """A network with context whose prediction is a weighted sum of its inputs plus a bias."""
    identity = np.eye(2 * NUM_INPUTS, NUM_INPUTS, dtype=np.float32)
    identity[NUM_INPUTS:] = -np.eye(NUM_INPUTS)
    zeros = np.zeros(2 * NUM_INPUTS, np.float32)
    layers = [
        (identity, zeros),
        (np.eye(2 * NUM_INPUTS, dtype=np.float32), zeros),
        (np.concatenate([weights, -weights])[None], np.array([bias], np.float32)),
    ]
    return RescoringNetwork.from_layers(layers, 17, LINKS, [1, 2], context=True)


def decode(header: Header, config: InferenceConfig | None = None) -> Poses:
    decoder, config = load_decoder(header), config or InferenceConfig(flip=False)
    levels = synthesize_all_outputs(6, *INPUT_SIZE, 1, header.skeleton, flip=False)
    maps = decoder.merge_scales({1.0: decoder.merge_views(levels)}, INPUT_SIZE, config)
    transform = resize_for_network(*IMAGE_SIZE, INPUT_SIZE[0])
    assert transform.size == INPUT_SIZE
    return decoder.decode(maps, transform, config)


HEADER = Header(ModelConfig(head="tags-and-offsets"))


def test_the_prediction_of_a_network_with_context_replaces_the_score() -> None:
    plain = decode(HEADER)
    weights = np.random.default_rng(0).normal(0, 0.02, NUM_INPUTS).astype(np.float32)
    network = network_of(weights, 0.4)
    rescored = decode(replace(HEADER, rescoring=network))
    context = naive_context(plain.keypoints, plain.scores, min(IMAGE_SIZE))
    pose = pose_features(plain.keypoints, plain.keypoint_scores, network)
    inputs = np.concatenate([pose, context], 1)
    expected = 1 / (1 + np.exp(-(inputs @ weights + 0.4)))
    assert len(plain) == 6 and 0.3 < expected.min() < expected.max() < 0.7
    np.testing.assert_allclose(rescored.scores, expected, atol=1e-4)
    np.testing.assert_array_equal(rescored.keypoints, plain.keypoints)
    np.testing.assert_array_equal(rescored.keypoint_scores, plain.keypoint_scores)


@pytest.mark.parametrize(("bias", "score"), [(-200.0, 0.0), (200.0, 1.0)])
def test_new_scores_are_from_0_to_1(bias: float, score: float) -> None:
    network = network_of(np.zeros(NUM_INPUTS, np.float32), bias)
    assert set(decode(replace(HEADER, rescoring=network)).scores.tolist()) == {score}


@pytest.mark.filterwarnings("error")
def test_the_score_of_a_pose_that_is_not_a_number_is_0() -> None:
    network = network_of(np.ones(NUM_INPUTS, np.float32), 0.5)
    keypoints = np.full((1, 17, 2), np.nan)
    scores = rescore(keypoints, np.ones((1, 17), np.float32), np.ones(1, np.float32), 99, network)
    assert scores.tolist() == [0]


def test_rescoring_can_be_turned_off() -> None:
    network = network_of(np.zeros(NUM_INPUTS, np.float32), 0.5)
    off = DecodeConfig(offsets=OffsetDecodeConfig(rescore=False))
    poses = decode(replace(HEADER, rescoring=network), InferenceConfig(flip=False, decode=off))
    np.testing.assert_array_equal(poses.scores, decode(HEADER).scores)


def test_a_header_keeps_the_context_and_earlier_headers_have_none() -> None:
    network = network_of(np.ones(NUM_INPUTS, np.float32), 0.5)
    header = replace(HEADER, rescoring=network)
    metadata = header.to_metadata()
    assert Header.from_metadata(metadata, "a.onnx") == header
    text = metadata[Header.KEY].replace(', "context": true', "")
    with pytest.raises(InputError, match=r"weights have .* bytes instead of"):
        Header.from_metadata({Header.KEY: text}, "a.onnx")


@pytest.mark.parametrize(("size", "side"), [((300, 400), 300), ((500, 123), 123), ((64, 64), 64)])
def test_the_transform_has_the_shorter_side_of_the_image(size: tuple[int, int], side: int) -> None:
    for scale in (1.0, 0.5):
        for convention in ("reference", "unbiased", "udp"):
            transform = resize_for_network(*size, 384, scale, 1.0, convention)
            assert transform.image_side == pytest.approx(side, rel=1e-12)
