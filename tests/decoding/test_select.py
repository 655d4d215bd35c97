"""Which people are given: similarity against COCO's formula, and what each setting leaves."""

from dataclasses import replace
from math import exp

import numpy as np
import pytest
from numpy.typing import ArrayLike

from higherhrnet.arrays import FloatArray
from higherhrnet.config import DecodeConfig
from higherhrnet.decoding.select import select, similarity
from higherhrnet.poses import Poses
from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton


def made(
    keypoints: ArrayLike, keypoint_scores: ArrayLike, scores: ArrayLike, skeleton: Skeleton = COCO
) -> Poses:
    x, y, z = (np.asarray(a, np.float32) for a in (keypoints, keypoint_scores, scores))
    return Poses(x, y, z, skeleton)


def random_poses(people: int, seed: int = 0, skeleton: Skeleton = COCO) -> Poses:
    """People of many sizes, near each other, some keypoints missing, the last person's all."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(20, 200, (people, 1, 1))
    keypoints = size * rng.random((people, len(skeleton), 2)) + 20 * rng.random((people, 1, 2))
    scores = rng.random((people, len(skeleton))) * (rng.random((people, len(skeleton))) < 0.7)
    scores[-1:] = 0
    keypoints[scores == 0] = 0
    return made(keypoints, scores, rng.random(people), skeleton)


def copies(*scores: float, shift: float = 0) -> Poses:
    """One person again and again, each `shift` pixels further right."""
    one = random_poses(2)[0]
    right = np.array([shift, 0])
    keypoints = [one.keypoints[0] + i * right * one.found[0, :, None] for i in range(len(scores))]
    return made(keypoints, np.repeat(one.keypoint_scores, len(scores), 0), scores)


def coco_similarity(a: Poses, b: Poses) -> float:
    """exp(-d² / 2 s² k²) over the keypoints of both, where s² is an area and k is twice sigma."""
    area = (max(a.boxes[0, 2] * a.boxes[0, 3], 1) + max(b.boxes[0, 2] * b.boxes[0, 3], 1)) / 2
    total = count = 0.0
    for i, sigma in enumerate(a.skeleton.sigmas):
        if a.keypoint_scores[0, i] > 0 and b.keypoint_scores[0, i] > 0:
            (x, y), (u, v) = a.keypoints[0, i].tolist(), b.keypoints[0, i].tolist()
            total += exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * area * (2 * sigma) ** 2))
            count += 1
    return total / count if count else 0.0


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda skeleton: skeleton.name)
def test_similarity_is_cocos_formula(skeleton: Skeleton) -> None:
    poses = random_poses(9, skeleton=skeleton)
    expected = [[coco_similarity(poses[a], poses[b]) for b in range(9)] for a in range(9)]
    np.testing.assert_allclose(similarity(poses), expected, atol=1e-5)
    assert (np.array(expected) > 0.01).mean() > 0.3


def test_people_who_share_no_keypoint_are_not_alike() -> None:
    poses = random_poses(4)
    assert not similarity(poses)[-1].any()


def test_a_person_is_wholly_like_itself_wherever_it_stands() -> None:
    alike = similarity(copies(0.5, 0.6))
    np.testing.assert_allclose(alike, 1)


def test_similarity_does_not_depend_on_the_size_of_the_picture() -> None:
    poses = random_poses(6)[:5]
    larger = replace(poses, keypoints=poses.keypoints * 7)
    np.testing.assert_allclose(similarity(larger), similarity(poses), rtol=1e-4)


def chosen(poses: Poses, config: DecodeConfig) -> list[float]:
    """The scores of those left, in their order."""
    return [round(score, 3) for score in select(poses, config).scores.tolist()]


def test_everybody_is_given_by_default() -> None:
    assert chosen(copies(0.2, 0.9, 0.0, 0.4), DecodeConfig()) == [0.2, 0.9, 0.0, 0.4]


@pytest.mark.parametrize(("least", "left"), [(0.25, [0.9, 0.25, 0.4]), (0.5, [0.9]), (0.95, [])])
def test_people_below_the_least_score_are_left_out(least: float, left: list[float]) -> None:
    assert chosen(copies(0.2, 0.9, 0.25, 0.4), DecodeConfig(min_score=least)) == left


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (1, [0.9]),
        (2, [0.9, 0.4]),
        (3, [0.2, 0.9, 0.4]),
        (4, [0.2, 0.9, 0.1, 0.4]),
        (9, [0.2, 0.9, 0.1, 0.4]),
    ],
)
def test_the_best_stay_within_the_limit_in_their_order(limit: int, left: list[float]) -> None:
    assert chosen(copies(0.2, 0.9, 0.1, 0.4), DecodeConfig(limit=limit)) == left


def test_of_equal_people_the_earlier_stays() -> None:
    poses = copies(0.5, 0.5, 0.5, shift=9)
    for config in (DecodeConfig(limit=1), DecodeConfig(oks_nms=0.01)):
        np.testing.assert_array_equal(select(poses, config).keypoints, poses[:1].keypoints)


def test_only_the_best_of_people_alike_stays() -> None:
    assert chosen(copies(0.2, 0.9, 0.1, 0.4), DecodeConfig(oks_nms=0.9)) == [0.9]


def test_a_person_that_was_left_out_drives_nobody_out() -> None:
    """Three in a row, the outer two alike only to the middle one."""
    poses = copies(0.5, 0.9, 0.7, shift=15)
    near, far = similarity(poses)[0, 1:].tolist()
    config = DecodeConfig(oks_nms=(near + far) / 2)
    assert chosen(poses, config) == [0.9]
    best_outside = replace(poses, scores=np.array([0.9, 0.7, 0.5], np.float32))
    assert chosen(best_outside, config) == [0.9, 0.5]


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.3])
def test_nobody_left_is_alike_and_everybody_out_is_like_somebody_better(threshold: float) -> None:
    poses = random_poses(40)
    left = select(poses, DecodeConfig(oks_nms=threshold))
    kept = np.isin(poses.scores, left.scores)
    alike: FloatArray = similarity(poses)
    assert 1 < len(left) < len(poses)
    others = alike[np.ix_(kept, kept)] - np.diag(np.diag(alike)[kept])
    assert others.max() <= threshold
    better = poses.scores[:, None] < poses.scores
    assert ((alike > threshold) & better)[~kept][:, kept].any(1).all()


def test_settings_apply_in_turn() -> None:
    """First the weak go, then those alike, then those past the limit."""
    poses = copies(0.2, 0.9, 0.8, 0.4, shift=60)
    assert chosen(poses, DecodeConfig(min_score=0.3, oks_nms=0.99, limit=2)) == [0.9, 0.8]
    config = DecodeConfig(min_score=0.85, oks_nms=0.9, limit=2)
    assert chosen(copies(0.9, 0.9, 0.8), config) == [0.9]


def test_nobody_is_chosen_from_nobody() -> None:
    config = DecodeConfig(min_score=0.3, oks_nms=0.5, limit=2)
    assert len(select(random_poses(3)[[]], config)) == 0
