"""Tests of selection by score, similarity and number, and of the similarity between people."""

from dataclasses import replace
from math import exp

import numpy as np
import pytest
from numpy.typing import ArrayLike

from higherhrnet.config.inference import DecodeConfig
from higherhrnet.decoding.select import pairwise_similarity, select
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE


def make_poses(
    keypoints: ArrayLike, keypoint_scores: ArrayLike, scores: ArrayLike, skeleton: Skeleton = COCO
) -> Poses:
    x, y, z = (np.asarray(a, np.float32) for a in (keypoints, keypoint_scores, scores))
    return Poses(x, y, z, skeleton)


def random_poses(people: int, seed: int = 0, skeleton: Skeleton = COCO) -> Poses:
    """People of many sizes near each other; some keypoints are missing, of the last person all."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(20, 200, (people, 1, 1))
    keypoints = size * rng.random((people, len(skeleton), 2)) + 20 * rng.random((people, 1, 2))
    scores = rng.random((people, len(skeleton))) * (rng.random((people, len(skeleton))) < 0.7)
    scores[-1:] = 0
    keypoints[scores == 0] = 0
    return make_poses(keypoints, scores, rng.random(people), skeleton)


def copies(*scores: float, shift: float = 0) -> Poses:
    """Copies of one person, each `shift` pixels to the right of the previous one."""
    person = random_poses(2)[0]
    offset = np.array([shift, 0])
    keypoints = [
        person.keypoints[0] + i * offset * person.found[0, :, None] for i in range(len(scores))
    ]
    return make_poses(keypoints, np.repeat(person.keypoint_scores, len(scores), 0), scores)


def coco_similarity(a: Poses, b: Poses) -> float:
    """exp(−d² / 2s²k²) over the keypoints of both people, with s² an area and k twice the sigma."""
    area = (max(a.boxes[0, 2] * a.boxes[0, 3], 1) + max(b.boxes[0, 2] * b.boxes[0, 3], 1)) / 2
    total = count = 0.0
    for i, sigma in enumerate(a.skeleton.sigmas):
        if a.keypoint_scores[0, i] > 0 and b.keypoint_scores[0, i] > 0:
            (x, y), (u, v) = a.keypoints[0, i].tolist(), b.keypoints[0, i].tolist()
            total += exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * area * (2 * sigma) ** 2))
            count += 1
    return total / count if count else 0.0


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
def test_similarity_is_that_of_coco(skeleton: Skeleton) -> None:
    poses = random_poses(9, skeleton=skeleton)
    expected = [[coco_similarity(poses[a], poses[b]) for b in range(9)] for a in range(9)]
    np.testing.assert_allclose(pairwise_similarity(poses), expected, atol=1e-5)
    assert (np.array(expected) > 0.01).mean() > 0.3


def test_people_without_a_common_keypoint_have_similarity_0() -> None:
    poses = random_poses(4)
    assert not pairwise_similarity(poses)[-1].any()


def test_equal_people_have_similarity_1() -> None:
    similarity = pairwise_similarity(copies(0.5, 0.6))
    np.testing.assert_allclose(similarity, 1)


def test_similarity_does_not_depend_on_the_resolution() -> None:
    poses = random_poses(6)[:5]
    larger = replace(poses, keypoints=poses.keypoints * 7)
    np.testing.assert_allclose(pairwise_similarity(larger), pairwise_similarity(poses), rtol=1e-4)


def selected_scores(poses: Poses, config: DecodeConfig) -> list[float]:
    """The scores of the selected people, in their order."""
    return [round(score, 3) for score in select(poses, config).scores.tolist()]


def test_all_people_are_selected_by_default() -> None:
    assert selected_scores(copies(0.2, 0.9, 0.0, 0.4), DecodeConfig()) == [0.2, 0.9, 0.0, 0.4]


@pytest.mark.parametrize(
    ("min_score", "expected"), [(0.25, [0.9, 0.25, 0.4]), (0.5, [0.9]), (0.95, [])]
)
def test_people_below_the_minimum_score_are_omitted(
    min_score: float, expected: list[float]
) -> None:
    poses = copies(0.2, 0.9, 0.25, 0.4)
    assert selected_scores(poses, DecodeConfig(min_score=min_score)) == expected


@pytest.mark.parametrize(
    ("max_results", "expected"),
    [
        (1, [0.9]),
        (2, [0.9, 0.4]),
        (3, [0.2, 0.9, 0.4]),
        (4, [0.2, 0.9, 0.1, 0.4]),
        (9, [0.2, 0.9, 0.1, 0.4]),
    ],
)
def test_max_results_keeps_the_best_people_in_their_order(
    max_results: int, expected: list[float]
) -> None:
    config = DecodeConfig(max_results=max_results)
    assert selected_scores(copies(0.2, 0.9, 0.1, 0.4), config) == expected


def test_the_first_of_people_with_equal_scores_is_kept() -> None:
    poses = copies(0.5, 0.5, 0.5, shift=9)
    for config in (DecodeConfig(max_results=1), DecodeConfig(oks_nms=0.01)):
        np.testing.assert_array_equal(select(poses, config).keypoints, poses[:1].keypoints)


def test_only_the_best_of_similar_people_is_kept() -> None:
    assert selected_scores(copies(0.2, 0.9, 0.1, 0.4), DecodeConfig(oks_nms=0.9)) == [0.9]


def test_a_suppressed_person_suppresses_nobody() -> None:
    """Of three people in a row, the outer two are similar only to the middle one."""
    poses = copies(0.5, 0.9, 0.7, shift=15)
    near, far = pairwise_similarity(poses)[0, 1:].tolist()
    config = DecodeConfig(oks_nms=(near + far) / 2)
    assert selected_scores(poses, config) == [0.9]
    best_first = replace(poses, scores=np.array([0.9, 0.7, 0.5], np.float32))
    assert selected_scores(best_first, config) == [0.9, 0.5]


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.3])
def test_kept_people_differ_and_suppressed_people_are_similar_to_a_better_one(
    threshold: float,
) -> None:
    poses = random_poses(40)
    selected = select(poses, DecodeConfig(oks_nms=threshold))
    kept = np.isin(poses.scores, selected.scores)
    similarity = pairwise_similarity(poses)
    assert 1 < len(selected) < len(poses)
    between_kept = similarity[np.ix_(kept, kept)] - np.diag(np.diag(similarity)[kept])
    assert between_kept.max() <= threshold
    better = poses.scores[:, None] < poses.scores
    assert ((similarity > threshold) & better)[~kept][:, kept].any(1).all()


def test_min_score_oks_nms_and_max_results_apply_in_this_order() -> None:
    poses = copies(0.2, 0.9, 0.8, 0.4, shift=60)
    config = DecodeConfig(min_score=0.3, oks_nms=0.99, max_results=2)
    assert selected_scores(poses, config) == [0.9, 0.8]
    config = DecodeConfig(min_score=0.85, oks_nms=0.9, max_results=2)
    assert selected_scores(copies(0.9, 0.9, 0.8), config) == [0.9]


def test_no_people_remain_no_people() -> None:
    config = DecodeConfig(min_score=0.3, oks_nms=0.5, max_results=2)
    assert len(select(random_poses(3)[[]], config)) == 0
