"""Tests of Object Keypoint Similarity against a loop in plain Python and against pycocotools."""

import contextlib
import io
from math import exp

import numpy as np
import pytest
from pycocotools.coco import COCO as CocoFile
from pycocotools.cocoeval import COCOeval

from higherhrnet.arrays import DoubleArray
from higherhrnet.poses.oks import keypoint_similarity, object_keypoint_similarity
from higherhrnet.poses.skeletons import COCO

SIGMAS = np.array(COCO.sigmas)


def random_positions(*shape: int, seed: int) -> DoubleArray:
    """(*shape, 17, 2) positions in pixels, up to 60 apart."""
    return 60 * np.random.default_rng(seed).random((*shape, 17, 2))


@pytest.mark.parametrize("shape", [(), (5,), (4, 3)])
def test_similarity_equals_a_loop_over_the_formula(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    offsets = random_positions(*shape, seed=1) - random_positions(*shape, seed=2)
    areas = rng.uniform(500, 20000, shape)
    compared = rng.random((*shape, 17)) < 0.6
    similarity = keypoint_similarity(offsets, areas, SIGMAS)
    mean = object_keypoint_similarity(offsets, areas, SIGMAS, compared)
    assert similarity.shape == (*shape, 17) and mean.shape == shape
    for index in np.ndindex(*shape):
        expected = [
            exp(-(x * x + y * y) / (2 * (2 * sigma) ** 2 * float(areas[index])))
            for (x, y), sigma in zip(offsets[index].tolist(), SIGMAS.tolist(), strict=True)
        ]
        np.testing.assert_allclose(similarity[index], expected, rtol=1e-12)
        used = [value for value, use in zip(expected, compared[index], strict=True) if use]
        assert mean[index] == pytest.approx(sum(used) / len(used), rel=1e-12)


def test_sigmas_may_differ_between_people() -> None:
    offsets, areas = random_positions(2, seed=3), np.array([900.0, 4000.0])
    sigmas = np.stack([SIGMAS, 3 * SIGMAS])
    for person in range(2):
        np.testing.assert_array_equal(
            keypoint_similarity(offsets, areas, sigmas)[person],
            keypoint_similarity(offsets[person], areas[person], sigmas[person]),
        )


def test_equal_positions_have_similarity_1_and_no_compared_keypoints_give_0() -> None:
    compared = np.stack([np.ones(17, bool), np.zeros(17, bool)])
    mean = object_keypoint_similarity(np.zeros((2, 17, 2)), np.ones(2), SIGMAS, compared)
    np.testing.assert_array_equal(mean, [1, 0])


def test_similarity_equals_that_of_pycocotools() -> None:
    """The annotated keypoints of a person are compared, and the area is that of the annotation."""
    rng = np.random.default_rng(4)
    truth, results = random_positions(3, seed=5), random_positions(4, seed=6)
    results[:3] = truth + rng.normal(0, 5, truth.shape)
    labeled, areas = rng.random((3, 17)) < 0.7, rng.uniform(500, 20000, 3)
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = CocoFile()
        annotations.dataset = {
            "images": [{"id": 1, "width": 100, "height": 100}],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": [
                {
                    "id": person + 1,
                    "image_id": 1,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": areas[person],
                    "bbox": [0, 0, 100, 100],
                    "num_keypoints": int(labeled[person].sum()),
                    "keypoints": np.column_stack([truth[person], 2 * labeled[person]])
                    .ravel()
                    .tolist(),
                }
                for person in range(3)
            ],
        }
        annotations.createIndex()
        detections = annotations.loadRes(
            [
                {
                    "image_id": 1,
                    "category_id": 1,
                    "score": 1 - 0.1 * person,  # pycocotools sorts results by score
                    "keypoints": np.column_stack([results[person], np.ones(17)]).ravel().tolist(),
                }
                for person in range(4)
            ]
        )
        evaluation = COCOeval(annotations, detections, "keypoints")
        evaluation.evaluate()
    similarity = object_keypoint_similarity(
        results[:, None] - truth, areas, SIGMAS, np.broadcast_to(labeled, (4, 3, 17))
    )
    np.testing.assert_allclose(similarity, evaluation.ious[1, 1], rtol=1e-12)
    assert (np.abs(np.diag(similarity) - 0.6) < 0.39).all()
