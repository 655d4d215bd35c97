"""Comparison of the poses that two engines or devices give for one image."""

import numpy as np

from higherhrnet import Poses


def assert_same_people(poses: Poses, expected: Poses) -> None:
    """Asserts that both have the same people, several and in any order."""
    assert len(poses) == len(expected) > 1
    order, wanted = np.argsort(poses.scores), np.argsort(expected.scores)
    np.testing.assert_allclose(poses.scores[order], expected.scores[wanted], atol=1e-4)
    np.testing.assert_allclose(poses.keypoints[order], expected.keypoints[wanted], atol=0.05)
