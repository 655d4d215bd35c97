"""COCO files: missing fields are filled in, and invalid files are rejected in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from higherhrnet.errors import InputError
from higherhrnet.io.datasets.coco import load_annotations, load_predictions
from higherhrnet.poses.skeletons import COCO
from tests.evaluation.cases import HAND, random_case

File = dict[str, Any]
INFINITY = float("inf")  # `json` writes and reads it as Infinity


def test_a_missing_box_is_that_of_the_labeled_keypoints(tmp_path: Path) -> None:
    content, _ = random_case(103, HAND)
    content["images"][0]["id"] = 1
    content["annotations"] = [
        {"image_id": 1, "keypoints": [10, 20, 2, 99, 99, 0, 40, 25, 1, 30, 80, 2]},
        {"image_id": 1},
    ]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    annotations = load_annotations(path)
    labeled, unlabeled = annotations.people
    assert labeled["bbox"] == [10, 20, 30, 60]
    assert (labeled["area"], labeled["num_keypoints"], labeled["iscrowd"]) == (1800, 3, 0)
    assert (unlabeled["bbox"], unlabeled["keypoints"]) == ([0, 0, 0, 0], [0] * 12)
    assert (annotations.num_people, annotations.skeleton) == (1, HAND)


def one_person() -> File:
    return {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [COCO.to_category()],
        "annotations": [{"id": 41, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * 17}],
    }


def with_person(**fields: Any) -> File:  # noqa: ANN401
    content = one_person()
    content["annotations"][0] |= fields
    return content


def with_category(**fields: Any) -> File:  # noqa: ANN401
    return one_person() | {"categories": [{"id": 1, "keypoints": ["head", "tail"]} | fields]}


def without(key: str) -> File:
    return {k: value for k, value in one_person().items() if k != key}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "lists no images"),
        ({}, "lists no images"),
        (one_person() | {"images": []}, "lists no images"),
        (one_person() | {"images": 5}, "images: missing, or not a list"),
        (one_person() | {"images": [{"file_name": "a.jpg"}]}, "images: entry 0 .* id"),
        (without("annotations"), "annotations: missing"),
        (one_person() | {"annotations": [5]}, "annotations: entry 0"),
        (without("categories"), "categories: missing"),
        (one_person() | {"categories": []}, "categories: found 0"),
        (
            one_person() | {"categories": [{"id": 1, "name": "cat"}]},
            "category cat has no keypoints",
        ),
        (with_category(keypoints=5), "keypoints must be a list of names, not 5"),
        (with_category(skeleton=[[1, INFINITY]]), "skeleton: .* not Infinity"),
        (with_category(sigmas=[10**400]), "sigmas must be 1 finite number, not 1000"),
        (
            one_person() | {"categories": [{"id": n, "keypoints": [f"tail {n}"]} for n in (1, 2)]},
            "categories: found 2",
        ),
        (with_person(keypoints=[1, 2, 2] * 16), "annotation 41: keypoints must be 51 finite"),
        (with_person(keypoints=[1, 2] * 16), "annotation 41: keypoints"),
        (with_person(keypoints=[[1, 2, 2]] * 16), "annotation 41: keypoints"),
        (with_person(keypoints=["one"] * 51), "annotation 41: keypoints"),
        (with_person(keypoints=[float("nan")] * 51), "annotation 41: keypoints"),
        (with_person(num_keypoints="all"), "annotation 41: num_keypoints must be 1"),
        (with_person(bbox=[1, 2, 3]), "annotation 41: bbox must be 4"),
        (with_person(area="large"), "annotation 41: area must be 1"),
        (with_person(iscrowd=INFINITY), "annotation 41: iscrowd must be 0 or 1, not Infinity"),
        (with_person(image_id=None), "annotations: entry 0 .* image_id"),
    ],
)
def test_invalid_annotations_are_rejected(
    content: Any,  # noqa: ANN401
    message: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        load_annotations(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in error.value.args[0]


RESULT = {"image_id": 1, "category_id": 1, "keypoints": [1, 2, 0.5] * 17, "score": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "not a list of COCO results, but an object$"),
        ({"results": [RESULT]}, "not a list of COCO results, but an object$"),
        ({"images": [], "annotations": []}, "but an object; it is an annotation file$"),
        (None, "not a list of COCO results, but null$"),
        ([5], "predictions: entry 0"),
        ([RESULT, {"score": 1}], "predictions: entry 1 .* image_id"),
        ([{"image_id": 7, "score": 0.5}], r"result 0 \(image 7\): keypoints"),
        (
            [RESULT, RESULT | {"keypoints": [1, 2]}],
            r"result 1 \(image 1\): keypoints must be three per keypoint",
        ),
        ([RESULT | {"keypoints": []}], "result 0 .*: keypoints"),
        ([RESULT | {"keypoints": [[1, 2, 3], [1]]}], "result 0 .*: keypoints"),
        ([RESULT | {"keypoints": [1, 2, INFINITY]}], "result 0 .*: keypoints"),
        ([RESULT | {"score": None}], "result 0 .*: score must be 1"),
        ([RESULT | {"score": "high"}], "result 0 .*: score must be 1"),
        ([RESULT | {"bbox": [1, 2, 3]}], "result 0 .*: bbox must be 4"),
    ],
)
def test_invalid_predictions_are_rejected(
    content: Any,  # noqa: ANN401
    message: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        load_predictions(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in error.value.args[0]


@pytest.mark.parametrize("load", [load_annotations, load_predictions])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "not a JSON file"),
        (b"[{", "not a JSON file"),
        (b"\xff\xd8\xff\xe0", "not a JSON file"),
        (b"[" * 100_000, "not a JSON file"),
    ],
)
def test_files_that_are_not_json_are_rejected(
    load: Callable[[Path], object], content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"file.json: {message}"):
        load(path)
