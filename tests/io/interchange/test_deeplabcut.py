"""DeepLabCut's tables of tracked videos, as pandas reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from higherhrnet import COCO, InputError, Poses
from higherhrnet.io.interchange import deeplabcut
from higherhrnet.io.interchange.predicted_images import PredictedImages
from tests.io.interchange.conftest import TRACKS, random_poses, write_predictions

pandas = pytest.importorskip("pandas")
pytest.importorskip("tables")

LEVELS = ["scorer", "individuals", "bodyparts", "coords"]


def test_tables_have_the_keypoints_of_each_person_in_each_frame(
    frames: list[tuple[str, int | None, Poses]], predicted: PredictedImages, tmp_path: Path
) -> None:
    notes = deeplabcut.write_deeplabcut_hdf5(tmp_path, predicted)
    assert notes == ["deeplabcut: images are not tracked, omitted: 2"]
    table = pandas.read_csv(tmp_path / "clip.csv", header=[0, 1, 2, 3], index_col=0)
    assert list(table.columns.names) == LEVELS and list(table.index) == [0, 1, 2]
    pandas.testing.assert_frame_equal(table, pandas.read_hdf(tmp_path / "clip.h5"))
    assert list(table.columns.get_level_values("individuals").unique()) == ["person2", "person7"]
    assert list(table.columns.get_level_values("scorer").unique()) == ["higherhrnet"]
    for index, track_ids in enumerate(TRACKS):
        poses = frames[2 + index][2]
        for track_id in (2, 7):
            cells = table.xs(f"person{track_id}", axis=1, level="individuals").loc[index]
            for k, name in enumerate(COCO.names):
                values = [cells["higherhrnet", name, part] for part in ("x", "y", "likelihood")]
                expected = [np.nan] * 3
                if track_id in track_ids:
                    person = track_ids.index(track_id)
                    if (score := poses.keypoint_scores[person, k]) > 0:
                        expected = [*poses.keypoints[person, k], score]
                assert values == pytest.approx(expected, abs=1e-4, nan_ok=True)


def test_people_without_track_ids_are_rejected(tmp_path: Path) -> None:
    images = write_predictions(tmp_path / "poses", [("clip.mp4", 0, random_poses(1, 1))])
    with pytest.raises(InputError, match=r"clip: .* need the track IDs of people; add --track"):
        deeplabcut.write_deeplabcut(tmp_path, images)


def test_videos_with_too_many_track_ids_are_omitted_with_a_note(tmp_path: Path) -> None:
    poses = random_poses(1, 322)
    tracked = Poses(
        poses.keypoints, poses.keypoint_scores, poses.scores, track_ids=np.arange(1, 323)
    )
    frames: list[tuple[str, int | None, Poses]] = [
        ("a.mp4", 0, tracked),
        ("b.mp4", 0, tracked[:321]),
    ]
    images = write_predictions(tmp_path / "poses", frames)
    (note,) = deeplabcut.write_deeplabcut(tmp_path, images)
    assert "omitted a, since it has 322 track IDs" in note
    assert [path.name for path in tmp_path.glob("*.csv")] == ["b.csv"]


def test_a_video_without_a_table_has_no_hdf5_file(tmp_path: Path) -> None:
    poses = random_poses(1, 322)
    tracked = Poses(
        poses.keypoints, poses.keypoint_scores, poses.scores, track_ids=np.arange(1, 323)
    )
    frames: list[tuple[str, int | None, Poses]] = [
        ("a.mp4", 0, tracked),
        ("b.mp4", 0, tracked[:2]),
    ]
    images = write_predictions(tmp_path / "poses", frames)
    (note,) = deeplabcut.write_deeplabcut_hdf5(tmp_path, images)
    assert "omitted a" in note
    assert [path.name for path in tmp_path.glob("*.h5")] == ["b.h5"]
