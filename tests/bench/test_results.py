"""The comparison of poses and the summary of measurements."""

from dataclasses import replace

import numpy as np

from higherhrnet import Poses
from higherhrnet.bench.results import equal_poses
from higherhrnet.bench.timing import Measurement


def test_equal_poses_have_the_same_positions_scores_and_order() -> None:
    poses = Poses(np.full((2, 17, 2), 7.0), np.full((2, 17), 0.5), np.array([0.5, 0.4]))
    assert equal_poses(poses, poses)
    assert not equal_poses(poses, poses[[1, 0]])
    assert not equal_poses(poses, poses[:1])
    assert not equal_poses(poses, replace(poses, keypoints=poses.keypoints + np.float32(0.25)))
    assert not equal_poses(poses, replace(poses, keypoint_scores=poses.keypoint_scores + 0.01))


def test_a_measurement_has_median_and_range() -> None:
    assert Measurement.of([3, 1, 20]) == Measurement(3, 1, 20)
    assert str(Measurement(12.34, 9.96, 123)) == "12.3 (10.0–123.0)"
