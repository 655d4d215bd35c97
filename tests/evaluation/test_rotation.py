"""Results that refer to the rotated images are noted where the images are not found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from higherhrnet.evaluation.rotation import require_equal_rotation
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.poses.skeletons import COCO


@pytest.mark.parametrize(
    ("size", "is_noted"),
    [
        ((40, 80), True),  # the results fit into the image turned by 90 degrees
        ((80, 40), False),  # the results fit
        ((30, 50), False),  # the results do not fit even then
        (None, False),
    ],
)
def test_results_beyond_the_annotated_size_are_noted_without_images(
    size: tuple[int, int] | None,
    is_noted: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image: dict[str, object] = {"id": 1, "file_name": "a.jpg"}
    if size:
        image |= {"width": size[0], "height": size[1]}
    annotation = {
        "id": 1, "image_id": 1, "category_id": 1, "keypoints": [5, 5, 2] * 17, "bbox": [1, 1, 9, 9],
    }  # fmt: skip
    path = tmp_path / "annotations.json"
    content = {
        "images": [image],
        "annotations": [annotation],
        "categories": [COCO.to_category() | {"id": 1, "name": "person"}],
    }
    path.write_text(json.dumps(content))
    result = {"image_id": 1, "category_id": 1, "keypoints": [70, 30, 0.9] * 17, "score": 0.9}
    require_equal_rotation(load_annotations(path), [result])
    note = capsys.readouterr().err
    assert bool(note) == is_noted
    if is_noted:
        assert note.startswith(f"{path}: the results of at least 1 image, such as a.jpg, exceed")
        assert "--images" in note
