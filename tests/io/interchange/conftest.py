"""A folder of predictions of two images and of a video in which people were tracked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from higherhrnet import COCO, Poses
from higherhrnet.io.interchange.predicted_images import PredictedImages
from higherhrnet.io.predictions import PredictionWriter
from higherhrnet.io.sources import Frame, Source
from higherhrnet.poses.skeleton import Skeleton

WIDTH, HEIGHT = 640, 480
TRACKS = [[7, 2], [], [7]]
"""The track IDs of the people in each frame of the video."""


def random_poses(seed: int, people: int, skeleton: Skeleton = COCO) -> Poses:
    """People with keypoints anywhere in the image, some of which are missing."""
    generator = np.random.default_rng(seed)
    shape = people, len(skeleton)
    scores = generator.uniform(0.1, 1, shape) * (generator.random(shape) > 0.2)
    scores[:, :2] = 0.5, 0.0  # at least one is found, and one is missing
    points = generator.uniform(1, (WIDTH - 1, HEIGHT - 1), (*shape, 2)) * (scores > 0)[..., None]
    keypoints, values = points.round(2).astype(np.float32), scores.round(3).astype(np.float32)
    return Poses(keypoints, values, values.mean(1), skeleton)


def write_predictions(folder: Path, frames: list[tuple[str, int | None, Poses]]) -> PredictedImages:
    """Writes predictions of images and frames: names, indices of frames, and poses."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with PredictionWriter(folder, {}) as writer:
        for name, index, poses in frames:
            writer.add(Frame(image, Source(name, Path(name)), index, None, 25.0), poses)
    return PredictedImages(folder, frames[0][2].skeleton)


@pytest.fixture
def frames() -> list[tuple[str, int | None, Poses]]:
    images: list[tuple[str, int | None, Poses]] = [
        ("day 1/a.jpg", None, random_poses(1, 2)),
        ("000000000139.jpg", None, random_poses(2, 0)),
    ]
    for index, track_ids in enumerate(TRACKS):
        poses = random_poses(10 + index, len(track_ids))
        tracked = Poses(
            poses.keypoints, poses.keypoint_scores, poses.scores, COCO, np.array(track_ids, int)
        )
        images.append(("clip.mp4", index, tracked))
    return images


@pytest.fixture
def predicted(frames: list[tuple[str, int | None, Poses]], tmp_path: Path) -> PredictedImages:
    return write_predictions(tmp_path / "poses", frames)
