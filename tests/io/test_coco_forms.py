"""COCO files of other programs: values of other types and forms are read, or rejected clearly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higherhrnet.errors import InputError
from higherhrnet.io.datasets.coco import (
    Annotations,
    check_results,
    load_annotations,
    load_predictions,
    read_annotations,
)

File = dict[str, Any]
NAN, INFINITY = float("nan"), float("inf")
NAMES = ["nose", "left_eye", "right_eye", "tail"]


def plain_file() -> File:
    """A file in COCO's own form: three images, four people and a ball."""
    keypoints: dict[int, list[float]] = {
        11: [10, 20, 2, 30.5, 21, 1, 0, 0, 0, 40, 80, 2],
        12: [50, 20, 2, 60, 40, 2, 70, 45, 2, 65, 90, 2],
        13: [0, 0, 0, 22, 33, 2, 0, 0, 0, 44, 77, 2],
        14: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    }
    people: list[File] = [
        {
            "id": id_, "image_id": image, "category_id": 1, "keypoints": keypoints[id_],
            "num_keypoints": sum(v > 0 for v in keypoints[id_][2::3]),
            "bbox": [5, 10, 60, 80], "area": 2500.5, "iscrowd": int(id_ == 14),
        }
        for id_, image in ((11, 1), (12, 1), (13, 2), (14, 2))
    ]  # fmt: skip
    ball = {"id": 15, "image_id": 3, "category_id": 2, "bbox": [1, 2, 3, 4]}
    return {
        "images": [
            {"id": n, "file_name": f"{n:03}.jpg", "width": 96, "height": 128} for n in (1, 2, 3)
        ],
        "categories": [
            {"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2], [1, 4]]},
            {"id": 2, "name": "ball"},
        ],
        "annotations": [*people, ball],
    }


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def comparable(annotations: Annotations) -> list[Any]:
    fields = ("image_id", "keypoints", "num_keypoints", "bbox", "area", "iscrowd")
    people = [{name: person[name] for name in fields} for person in annotations.people]
    images = [{k: image.get(k) for k in ("id", "width", "height")} for image in annotations.images]
    return [annotations.skeleton, images, people, annotations.num_people]


def every(entries: str, **changes: Callable[[Any], Any]) -> Callable[[File], None]:
    """A change of fields in all entries of a list."""

    def change(content: File) -> None:
        for entry in content[entries]:
            for key, convert in changes.items():
                if key in entry:
                    entry[key] = convert(entry[key])

    return change


def persons(**changes: Callable[[Any], Any]) -> Callable[[File], None]:
    return every("annotations", **changes)


def triples(keypoints: list[float]) -> list[list[float]]:
    return [keypoints[i : i + 3] for i in range(0, len(keypoints), 3)]


def with_unlabeled(x: object, y: object, v: object = 0) -> Callable[[Any], Any]:
    """Other values for the keypoints that are not labeled."""
    return lambda keypoints: [
        value for t in triples(keypoints) for value in (t if t[2] else [x, y, v])
    ]


def add_nulls(content: File) -> None:
    for entry in [*content["images"], *content["annotations"]]:
        entry |= {"license": None, "segmentation": None}
    for category in content["categories"]:
        category |= {"sigmas": None, "flip_pairs": None, "grouping_order": None}
    content["categories"][1]["keypoints"] = None
    content["categories"][1]["skeleton"] = None
    content["annotations"][0]["category_id"] = None
    for person in content["annotations"][:3]:
        person |= {"iscrowd": None, "num_keypoints": None}
    content["annotations"][3]["keypoints"] = None


READ = {
    "category_id is a string": persons(category_id=str),
    "category_id is a float": persons(category_id=float),
    "categories have string IDs": every("categories", id=str),
    "categories have float IDs": every("categories", id=lambda n: f"{n}.0"),
    "image_id is a float": persons(image_id=float),
    "image_id is a string": persons(image_id=str),
    "image_id is padded": persons(image_id="{:012}".format),
    "images have string IDs": every("images", id=str),
    "images have float IDs": every("images", id=float),
    "sizes are strings": every("images", width=str, height="{}.0".format),
    "sizes are floats": every("images", width=float, height=float),
    "num_keypoints is a string": persons(num_keypoints=str),
    "num_keypoints is a float": persons(num_keypoints=float),
    "area is a string": persons(area=str),
    "bbox has strings": persons(bbox=lambda box: [f" {value}" for value in box]),
    "keypoints are strings": persons(keypoints=lambda k: list(map(str, k))),
    "keypoints are floats": persons(keypoints=lambda k: list(map(float, k))),
    "keypoints are nested": persons(keypoints=triples),
    "keypoints are nested strings": persons(
        keypoints=lambda k: [list(map(str, t)) for t in triples(k)]
    ),
    "unlabeled keypoints are null": persons(
        keypoints=lambda k: [t if t[2] else None for t in triples(k)]
    ),
    "unlabeled: NaN": persons(keypoints=with_unlabeled(NAN, NAN)),
    "unlabeled: null": persons(keypoints=with_unlabeled(None, None)),
    "unlabeled: all null": persons(keypoints=with_unlabeled(None, None, None)),
    "unlabeled: infinite": persons(keypoints=with_unlabeled(INFINITY, -INFINITY)),
    "unlabeled: huge": persons(keypoints=with_unlabeled(10**400, 1e300)),
    "unlabeled: text": persons(keypoints=with_unlabeled("n/a", "")),
    "unlabeled: objects": persons(keypoints=with_unlabeled({}, True, "0")),
    "unlabeled: elsewhere": persons(keypoints=with_unlabeled(-7, 5000)),
    "visibility is a boolean": persons(
        keypoints=lambda k: [
            v for x, y, z in triples(k) for v in ([x, y, z] if z == 1 else [x, y, bool(z)])
        ]
    ),
    "iscrowd is a boolean": persons(iscrowd=bool),
    "iscrowd is yes or no": persons(iscrowd=lambda n: "Yes" if n else "no"),
    "iscrowd is a string": persons(iscrowd=str),
    "iscrowd is a float": persons(iscrowd=float),
    "null is absent": add_nulls,
    "skeleton from 0": every("categories", skeleton=lambda _: [[0, 1], [0, 3]]),
    "skeleton flat": every("categories", skeleton=lambda _: [1, 2, 1, 4]),
    "skeleton flat from 0": every("categories", skeleton=lambda _: [0, 1, 0, 3]),
    "skeleton of names": every("categories", skeleton=lambda _: [NAMES[:2], ["nose", "tail"]]),
    "skeleton flat of names": every("categories", skeleton=lambda _: [*NAMES[:2], "nose", "tail"]),
    "skeleton of strings": every("categories", skeleton=lambda _: [["1", "2"], ["1", 4.0]]),
}  # fmt: skip


@pytest.mark.parametrize("change", READ.values(), ids=READ)
def test_values_whose_meaning_is_clear_are_read(
    change: Callable[[File], None], tmp_path: Path
) -> None:
    content = plain_file()
    expected = load_annotations(write(tmp_path / "plain.json", content))
    assert (expected.num_people, len(expected.people)) == (3, 4)
    assert expected.skeleton.limbs == (("nose", "left_eye"), ("nose", "tail"))
    change(content)
    changed = load_annotations(write(tmp_path / "changed.json", content))
    assert comparable(changed) == comparable(expected)
    texts = [finding.text() for finding in changed.findings]
    assert [text for text in texts if "converted" not in text] == [
        "1 annotation of the category ball is left out (annotation 15)"
    ]


def test_converted_values_are_counted(tmp_path: Path) -> None:
    content = plain_file()
    content["annotations"][0] |= {"category_id": "1", "area": "2500", "iscrowd": False}
    content["annotations"][1] |= {"bbox": ["5", 10, 60, 80], "keypoints": [[1, 2, 2]] * 4}
    content["annotations"][2] |= {"num_keypoints": 2.0, "image_id": "002"}
    content["annotations"][3] |= {"keypoints": [3, 4, 0] * 4, "segmentation": None}
    content["images"][0] |= {"width": "96"}
    annotations = load_annotations(write(tmp_path / "converted.json", content))
    assert [finding.text() for finding in annotations.findings] == [
        "1 image has values of another JSON type or form than COCO's, which were converted "
        "(image 1: width)",
        "3 annotations have values of another JSON type or form than COCO's, which were converted "
        "(annotation 11: category_id, area; annotation 12: keypoints, bbox; "
        "annotation 13: image_id, num_keypoints)",
        "1 annotation of the category ball is left out (annotation 15)",
    ]


def test_sizes_of_zero_count_as_unknown(tmp_path: Path) -> None:
    content = plain_file()
    content["images"][0] |= {"width": 0, "height": "0"}
    annotations = load_annotations(write(tmp_path / "unknown.json", content))
    assert not {"width", "height"} & annotations.images[0].keys()
    assert annotations.images[1]["width"] == 96


def first(**fields: Any) -> Callable[[File], None]:  # noqa: ANN401
    def change(content: File) -> None:
        content["annotations"][0] |= fields

    return change


def image(**fields: Any) -> Callable[[File], None]:  # noqa: ANN401
    def change(content: File) -> None:
        content["images"][1] |= fields

    return change


def category(**fields: Any) -> Callable[[File], None]:  # noqa: ANN401
    def change(content: File) -> None:
        content["categories"][0] |= fields

    return change


PLAIN = [10, 20, 2, 30.5, 21, 1, 0, 0, 0, 40, 80, 2]
REJECTED = [
    (first(category_id=7), "annotation 11: category_id 7 is not listed in categories (1: person"),
    (first(category_id=True), "annotation 11: category_id must be a number or a string, not true"),
    (first(image_id=NAN), "annotation 11: image_id must be a number or a string, not NaN"),
    (first(image_id=True), "annotations: entry 0 has no number or string as its image_id, but tr"),
    (first(image_id=[1]), "image_id, but a list of length 1"),
    (first(iscrowd="maybe"), 'annotation 11: iscrowd must be 0 or 1, not "maybe"'),
    (first(iscrowd=2), "annotation 11: iscrowd must be 0 or 1, not 2"),
    (first(iscrowd={}), "iscrowd must be 0 or 1, not an empty object"),
    (first(num_keypoints=2.5), "num_keypoints must be 1 whole number of 0 or more, not 2.5"),
    (first(num_keypoints=-1), "num_keypoints must be 1 whole number of 0 or more, not -1"),
    (first(area=True), "annotation 11: area must be 1 finite number, not true"),
    (first(area="1_000"), 'area must be 1 finite number, not "1_000"'),
    (first(area="12,5"), 'area must be 1 finite number, not "12,5"'),
    (first(area=10**400), "area must be 1 finite number, not 1000000"),
    (first(bbox="1,2,3,4"), 'bbox must be 4 finite numbers (x, y, width and height), not "1,2,3,4'),
    (first(bbox={"x": 1}), "width and height), not an object"),
    (first(bbox=[1, 2, 3, None]), "bbox must be 4 finite numbers"),
    (first(bbox=[[1, 2], [3, 4]]), "width and height), not a list of length 2"),
    (first(keypoints="1 2 2"), 'keypoints must be 12 finite numbers (x, y and visibility of 4'),
    (first(keypoints={"nose": [1, 2, 2]}), "visibility of 4 keypoints), not an object"),
    (first(keypoints=[{"x": 1}] * 4), "keypoints), not 4 values, among them an object"),
    (first(keypoints=[[1, 2, 2]] * 3), "keypoints), not 3 lists of length 3"),
    (first(keypoints=[[1, 2, 2], [1, 2]] * 2), "keypoints), not 4 lists of length 2, 3"),
    (first(keypoints=[1, 2, 2] * 5), "keypoints), not 15 values"),
    (first(keypoints=[*PLAIN[:9], NAN, 80, 2]), "keypoint 4: each of x and y must be 1 finite"),
    (first(keypoints=[*PLAIN[:9], 40, 80, None]), "keypoint 4 has a position, but null as its thi"),
    (first(keypoints=[*PLAIN[:9], 40, 80, False]), "position, but false as its third value"),
    (first(keypoints=[*PLAIN[:9], 40, 80, "yes"]), 'the third value must be 1 finite number, not'),
    (first(keypoints=[*PLAIN[:9], 1e300, 80, 2]), "keypoint 4: each of x and y must be 1 finite"),
    (image(width="wide"), 'image 2: width must be 1 finite number, not "wide"'),
    (image(height=-5), "image 2: height must be 1 whole number of 0 or more, not -5"),
    (image(width=96.5), "image 2: width must be 1 whole number of 0 or more, not 96.5"),
    (image(file_name=["a.jpg"]), "image 2: file_name must be a string, not a list of length 1"),
    (category(keypoints="nose,tail"), 'person: keypoints must be a list of names, not "nose,tail"'),
    (category(keypoints={"nose": 1}), "category person: keypoints must be a list of names, not an"),
    (category(keypoints=[{"name": "nose"}]), "each of keypoints must be a string, not an object"),
    (category(skeleton="1-2"), 'skeleton must be a list of pairs of keypoints, not "1-2"'),
    (category(skeleton=[[1, 2, 3]]), "skeleton must be pairs of keypoints, but has a list of"),
    (category(skeleton=[[0, 4]]), "skeleton has numbers outside 0 to 3: 4"),
    (category(skeleton=[[1, 5]]), "skeleton has numbers outside 1 to 4: 5"),
    (category(skeleton=[["nose", "mouth"]]), 'not the name of a keypoint must be 1 finite number'),
    (category(skeleton=[[1, INFINITY]]), "must be 1 finite number, not Infinity"),
    (category(sigmas=[10**400] * 4), "each of sigmas must be 1 finite number, not 1000"),
    (category(sigmas=0.1), "sigmas must be a list of numbers, not 0.1"),
    (category(flip_pairs=[[1, 2]]), "each of flip_pairs must be a pair of names, not [1, 2]"),
    (category(id=2), "categories: the ID 2 is listed twice"),
    (category(id=None), "categories: entry 0: id must be a number or a string, not null"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REJECTED, ids=[m for _, m in REJECTED])
def test_other_values_are_rejected_with_what_was_found(
    change: Callable[[File], None], message: str, tmp_path: Path
) -> None:
    content = plain_file()
    change(content)
    path = write(tmp_path / "annotations.json", content)
    with pytest.raises(InputError) as error:
        load_annotations(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in error.value.args[0]


def test_keypoints_without_visibility_are_visible_unless_they_are_at_the_origin(
    tmp_path: Path,
) -> None:
    content = plain_file()
    flat, nested = [10, 20, 0, 0, "30", 40, 7, 0], [[1, 2], None, [None, None], [3.5, 4]]
    for person, keypoints in zip(content["annotations"], (flat, nested), strict=False):
        person["keypoints"] = keypoints
        del person["num_keypoints"]
    annotations = load_annotations(write(tmp_path / "pairs.json", content))
    one, two = (person["keypoints"] for person in annotations.people[:2])
    assert one == [10, 20, 2, 0, 0, 0, 30, 40, 2, 7, 0, 2]
    assert two == [1, 2, 2, 0, 0, 0, 0, 0, 0, 3.5, 4, 2]
    texts = [finding.text() for finding in annotations.findings]
    assert any(text.startswith("2 people have keypoints without visibility") for text in texts)


def test_categories_with_equal_keypoints_are_people_and_others_are_counted(tmp_path: Path) -> None:
    content = plain_file()
    content["categories"] += [
        {"id": "3", "name": "child", "keypoints": NAMES},
        {"id": 4, "name": "hand", "keypoints": ["wrist", "thumb"]},
    ]
    content["annotations"][1]["category_id"] = 3
    content["annotations"][2]["category_id"] = 3
    content["annotations"] += [
        {"id": n, "image_id": 1, "category_id": 4, "keypoints": [1, 2, 2] * 2}
        for n in range(20, 25)
    ]
    annotations = load_annotations(write(tmp_path / "children.json", content))
    assert annotations.num_people == 3
    assert annotations.category_ids == {1, 3}
    assert [finding.text() for finding in annotations.findings] == [
        "1 category has the keypoints of the main category and counts as people, too (child)",
        "5 annotations of the category hand are left out (annotation 20; annotation 21; "
        "annotation 22; and 2 more)",
        "1 annotation of the category ball is left out (annotation 15)",
    ]


def test_annotations_of_many_other_categories_are_counted_together(tmp_path: Path) -> None:
    content = plain_file()
    for n in range(3, 11):
        content["categories"].append({"id": n, "name": f"kind {n}"})
        content["annotations"] += [
            {"id": 10 * n + i, "image_id": 1, "category_id": n} for i in (1, 2)
        ]
    annotations = load_annotations(write(tmp_path / "many.json", content))
    texts = [finding.text() for finding in annotations.findings]
    assert (
        texts[0]
        == "2 annotations of the category kind 3 are left out (annotation 31; annotation 32)"
    )
    assert texts[5].startswith("7 annotations of 4 other categories are left out (annotation 81 of")
    assert len(texts) == 6


def test_species_without_person_are_one_class_and_different_ones_are_rejected(
    tmp_path: Path,
) -> None:
    content = plain_file()
    content["categories"] = [
        {"id": n, "name": name, "keypoints": NAMES} for n, name in ((1, "cat"), (2, "dog"))
    ]
    content["annotations"][4] = content["annotations"][0] | {"category_id": 2, "id": 15}
    annotations = load_annotations(write(tmp_path / "species.json", content))
    assert (annotations.num_people, annotations.skeleton.name) == (4, "cat")
    content["categories"][1]["keypoints"] = ["horn"]
    path = write(tmp_path / "different.json", content)
    with pytest.raises(InputError, match=r"found 2 categories of people \(cat, dog\) instead of"):
        load_annotations(path)


def test_annotations_of_unlisted_images_are_counted(tmp_path: Path) -> None:
    content = plain_file()
    content["annotations"][0]["image_id"] = 99
    annotations = load_annotations(write(tmp_path / "unlisted.json", content))
    assert annotations.num_people == 2
    assert annotations.findings[0].text() == (
        "1 annotation belongs to an image that is not listed (annotation 11 of image 99)"
    )


def test_all_invalid_entries_are_listed(tmp_path: Path) -> None:
    content = plain_file()
    content["annotations"][0]["category_id"] = 7
    content["annotations"][1]["iscrowd"] = "maybe"
    content["annotations"][2] = 5
    content["images"][2]["width"] = "wide"
    path = write(tmp_path / "invalid.json", content)
    annotations, invalid = read_annotations(path)
    assert (len(annotations.images), len(annotations.people)) == (2, 1)
    assert [(finding.plural, len(finding.cases)) for finding in invalid] == [
        ("images have invalid values", 1),
        ("annotations have a category that is not listed", 1),
        ("annotations have invalid values", 2),
    ]
    with pytest.raises(InputError, match=r"image 3: width .* check-data lists it and 3 more"):
        load_annotations(path)


@pytest.mark.parametrize(
    ("points", "box"),
    [
        ([[10, 20]], [-6, 4, 32, 32]),  # the size is unknown
        ([[10, 20], [10.5, 20]], [-5.75, 4, 32, 32]),
        ([[10, 20], [10, 120]], [5, 20, 10, 100]),  # on a vertical line
        ([[10, 20], [110, 22]], [10, 16, 100, 10]),
        ([[10, 20], [40, 80]], [10, 20, 30, 60]),
    ],
)
@pytest.mark.parametrize("given", ["nothing", "null", "empty box"])
def test_filled_in_area_is_never_zero(
    points: list[list[float]], box: list[float], given: str, tmp_path: Path
) -> None:
    content = plain_file()
    person = content["annotations"][0]
    del person["num_keypoints"], person["bbox"], person["area"]
    if given == "null":
        person |= {"bbox": None, "area": None, "num_keypoints": None}
    if given == "empty box":
        person["bbox"] = [*points[0], 0, 0]
    labeled = [value for point in points for value in (*point, 2)]
    person["keypoints"] = [*labeled, *[0] * (12 - len(labeled))]
    read = load_annotations(write(tmp_path / "area.json", content)).people[0]
    assert read["area"] == pytest.approx(box[2] * box[3])
    assert read["bbox"] == pytest.approx(person["bbox"] if given == "empty box" else box)


RESULT: File = {"image_id": 1, "category_id": 1, "keypoints": [1, 2, 0.5, 3, 4, 0], "score": 0.5}
RESULTS = {
    "strings": {"image_id": "1", "category_id": "1", "score": "0.5"},
    "floats": {"image_id": 1.0, "category_id": 1.0},
    "nested": {"keypoints": [[1, 2, 0.5], [3, 4, 0]]},
    "numbers as strings": {"keypoints": ["1", "2", "5e-1", "3", "4", "0"]},
    "null box": {"bbox": None},
    "empty box": {"bbox": []},
}


@pytest.mark.parametrize("fields", RESULTS.values(), ids=RESULTS)
def test_results_of_other_types_are_read(fields: File, tmp_path: Path) -> None:
    path = write(tmp_path / "results.json", [RESULT | fields])
    assert load_predictions(path) == [RESULT]


def test_keypoints_that_were_not_found_need_no_position(tmp_path: Path) -> None:
    values = [[1, 2, 0.5], [NAN, None, 0]], [[1, 2, 0.5], None], [[1, 2], [None, None]]
    results = [RESULT | {"keypoints": value} for value in values]
    read = [r["keypoints"] for r in load_predictions(write(tmp_path / "results.json", results))]
    assert read == [[1, 2, 0.5, 0, 0, 0], [1, 2, 0.5, 0, 0, 0], [1, 2, 1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keypoints": [1, 2] * 17}, "result 0 (image 1): keypoints must be three per keypoint"),
        ({"keypoints": "1 2 3"}, 'finite numbers, not "1 2 3"'),
        ({"keypoints": [NAN, 2, 0.5]}, "keypoint 1: each of x and y must be 1 finite number"),
        ({"score": True}, "score must be 1 finite number, not true"),
        ({"score": "high"}, 'score must be 1 finite number, not "high"'),
        ({"image_id": None}, "entry 0 has no number or string as its image_id, but null"),
        ({"category_id": [1]}, "category_id must be a number or a string, not a list of length 1"),
        ({"bbox": "1,2,3,4"}, 'bbox must be 4 finite numbers (x, y, width and height), not "1,2'),
    ],
)
def test_other_results_are_rejected_with_what_was_found(
    fields: File, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "results.json", [RESULT | fields])
    with pytest.raises(InputError) as error:
        load_predictions(path)
    assert message in str(error.value)
    assert "\n" not in error.value.args[0]


@pytest.mark.parametrize("load", [load_annotations, load_predictions])
@pytest.mark.parametrize(
    "content",
    ["[" * 200_000 + "]" * 200_000, "[" * 200_000, '{"images": [' + '{"a":' * 200_000],
    ids=["closed", "open", "objects"],
)
def test_deeply_nested_brackets_are_one_line(
    load: Callable[[Path], object], content: str, tmp_path: Path
) -> None:
    path = tmp_path / "nested.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"nested\.json: .* nested too deeply$"):
        load(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_values_of_numpy_are_numbers(dtype: type[Any]) -> None:
    keypoints = [dtype(value) for value in (1, 2, 1)]
    (result,) = check_results([RESULT | {"keypoints": keypoints, "score": dtype(1)}], "results")
    assert (result["keypoints"], result["score"]) == ([1, 2, 1], 1)
