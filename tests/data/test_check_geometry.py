"""check-data finds people whose keypoints, box, area and image contradict each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higherhrnet.cli.main import main
from higherhrnet.data.check_geometry import check_geometry
from higherhrnet.data.orientation import ROTATED
from higherhrnet.io.datasets.coco_entries import read_person
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.scenes import write_scenes
from tests.oriented import store_oriented

Person = dict[str, Any]
WIDTH, HEIGHT = 640, 480


def consistent_person(corner: tuple[float, float] = (200, 100)) -> Person:
    """A person of 100×200 pixels at a corner, with a keypoint on each edge of the box."""
    points = np.random.default_rng(1).uniform(0, (100, 200), (17, 2))
    points[:2] = (0, 0), (100, 200)
    triples = np.column_stack([points + corner, np.full(17, 2)])
    return {"id": 5, "image_id": 1, "keypoints": triples.ravel().tolist(),
            "bbox": [*corner, 100, 200], "area": 9000.0}  # fmt: skip


def findings(*people: Person, width: int = WIDTH, height: int = HEIGHT) -> dict[str, list[str]]:
    image = {"id": 1, "file_name": "a.jpg", "width": width, "height": height}
    pairs = [(image, read_person(person, 17)) for person in people]
    return {f.plural: f.cases for f in check_geometry(pairs, COCO) if f.cases}


def moved(person: Person, keypoint: int, *triple: float) -> Person:
    keypoints = list(person["keypoints"])
    keypoints[3 * keypoint : 3 * keypoint + 3] = triple
    return person | {"keypoints": keypoints}


def scaled(person: Person) -> Person:
    """Keypoints as fractions of the image."""
    triples = np.reshape(person["keypoints"], (17, 3)) / (WIDTH, HEIGHT, 1)
    return person | {"keypoints": triples.ravel().tolist()}


P = consistent_person()
AREA = "people have an area of about 0, so that hardly any result can match"
CORNERS = "boxes seem to be two corners instead of x, y, width and height"
EMPTY = "boxes have no positive width and height"
FRACTIONS = "boxes are from 0 to 1 instead of in pixels"
POINT_FRACTIONS = "people have keypoints from 0 to 1 instead of in pixels"
ORIGIN = "people have labeled keypoints at (0, 0), which may be missing ones"
VISIBILITY = "people have keypoints with a visibility other than 0, 1 and 2"
OUTSIDE = "people have most keypoints outside the box"
APART, BEYOND = "boxes are outside their images", "boxes reach beyond their images"
LARGE = "people have an area that is larger than the box"


@pytest.mark.parametrize(
    ("person", "kind", "case"),
    [
        (P | {"area": 0}, AREA, "area 0"),
        (P | {"area": 1}, AREA, "area 1"),
        (P | {"area": 0.14}, AREA, "area 0.14"),  # of a box from 0 to 1
        (P | {"area": 150}, AREA, "area 150"),  # of 20,000 pixels
        (P | {"area": -9000}, AREA, "area -9000"),
        (P | {"bbox": [400, 200, 500, 400]} | consistent_person((400, 200))
         | {"bbox": [400, 200, 500, 400]}, CORNERS, "box 400, 200, 500, 400 in 640×480 pixels"),
        (P | {"bbox": [300, 300, -100, -200]}, EMPTY, "box 300, 300, -100, -200"),
        (P | {"bbox": [200, 100, 0, 200]}, EMPTY, "box 200, 100, 0, 200"),
        (P | {"bbox": [0.31, 0.2, 0.16, 0.42]}, FRACTIONS, "box 0.31, 0.2, 0.16, 0.42"),
        (scaled(P), POINT_FRACTIONS, "nose at 0.3125, 0.208333"),
        (moved(P, 3, 0, 0, 2), ORIGIN, "left_ear has visibility 2"),
        (moved(moved(P, 3, 0, 0, 1), 4, 0, 0, 1), ORIGIN, "left_ear has visibility 1"),
        (moved(P, 16, 250, 200, 3), VISIBILITY, "right_ankle has 3"),
        (moved(P, 16, 250, 200, 0.8), VISIBILITY, "right_ankle has 0.8"),
        (moved(P, 16, 0, 0, -1), VISIBILITY, "right_ankle has -1"),
        (P | {"bbox": [20, 250, 100, 200]}, OUTSIDE, "box 20, 250, 100, 200"),
        (P | {"bbox": [700, 100, 100, 200]}, APART, "box 700, 100, 100, 200 in 640×480 pixels"),
        (P | {"bbox": [-150, 100, 100, 200]}, APART, "box -150, 100, 100, 200 in 640×480 pixels"),
        (P | {"bbox": [-30, 100, 330, 200]}, BEYOND, "box -30, 100, 330, 200 in 640×480 pixels"),
        (P | {"area": 30000}, LARGE, "area 30000, box 20000"),
    ],
)  # fmt: skip
def test_a_contradiction_is_found_once(person: Person, kind: str, case: str) -> None:
    # Among consistent people, so that only this person is reported.
    assert findings(person, *[P] * 9) == {kind: [f"a.jpg, annotation 5: {case}"]}


@pytest.mark.parametrize(
    "person",
    [
        P,
        {**P, "iscrowd": 1, "area": 0, "bbox": [0, 0, 0, 0]},
        {**P, "keypoints": [0] * 51, "bbox": [0, 0, 0, 0], "area": 0},
        {key: P[key] for key in ("id", "image_id", "keypoints")},
        consistent_person((540, 280)),  # at the corner of the image
        consistent_person((0, 0)) | {"keypoints": [*[0] * 48, 0.5, 80, 2]},  # at the left edge
        {"id": 5, "image_id": 1, "keypoints": [3, 4, 2, *[0] * 48]},  # a box of 32×32 is assumed
        moved(P, 5, 0, 0, 0),
        moved(P, 5, 150, 100, 2),  # an arm that reaches out of the box
        P | {"bbox": [199, 99, 102, 202], "area": 20604},
        P | {"bbox": [150, 50, 300, 400]},  # a generous box
    ],
)
def test_consistent_people_are_not_reported(person: Person) -> None:
    assert findings(person) == {}


def test_sizes_of_images_may_be_unknown() -> None:
    image = {"id": 1, "file_name": "a.jpg"}
    (finding,) = [
        f for f in check_geometry([(image, read_person(P | {"area": 1}, 17))], COCO) if f.cases
    ]
    assert (finding.plural, finding.total) == (AREA, 1)


def test_boxes_of_other_people_are_an_error_only_if_they_are_frequent() -> None:
    image = {"id": 1, "width": WIDTH, "height": HEIGHT}
    pairs = [(image, read_person(P, 17))] * 98
    wrong = (image, read_person(P | {"bbox": [20, 250, 100, 200]}, 17))
    for count, is_error in ((1, False), (9, True)):
        (finding,) = [f for f in check_geometry([*pairs, *[wrong] * count], COCO) if f.cases]
        assert (finding.is_error, len(finding.cases)) == (is_error, count)


def keypoints(change: Callable[[Any], None]) -> Callable[[Person], None]:
    """A change of the (17, 3) keypoints of a person."""

    def apply(person: Person) -> None:
        triples = np.reshape(np.array(person["keypoints"], object), (17, 3))
        change(triples)
        person["keypoints"] = triples.ravel().tolist()

    return apply


def fields(**values: Any) -> Callable[[Person], None]:  # noqa: ANN401
    return lambda person: person.update(values)


def as_corners(person: Person) -> None:
    x, y, width, height = person["bbox"]
    person["bbox"] = [x, y, x + width, y + height]


def divided(person: Person) -> None:
    person["bbox"] = [value / 400 for value in person["bbox"]]


def one_keypoint(person: Person) -> None:
    triples = np.reshape(person["keypoints"], (17, 3))
    triples[np.flatnonzero(triples[:, 2])[1:]] = 0
    person["keypoints"] = triples.ravel().tolist()
    del person["num_keypoints"], person["bbox"], person["area"]


def test_a_dataset_with_all_faults_lists_each_with_its_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    path = write_scenes(
        tmp_path, 40, seed=3, height=256, width=288, people=(1, 1), crowd=0, objects=(0, 0)
    )
    content = json.loads(path.read_text())
    people: list[Person] = content["annotations"]
    assert len(people) == 40
    far = [p for p in people if min(p["bbox"][:2]) > 60 and min(p["bbox"][2:]) > 20][:2]
    rest = iter([person for person in people if person not in far])
    faults: list[tuple[str, Callable[[Person], None], int]] = [
        ("annotations have a category that is not listed", fields(category_id=9), 2),
        ("annotations have invalid values", fields(iscrowd="maybe"), 2),
        ("3 annotations have values of another JSON type", fields(category_id="1"), 3),
        ("2 annotations of the category ball are left out", fields(category_id=3), 2),
        ("2 annotations of the category hand are left out", fields(category_id=4), 2),
        ("annotations belong to images that are not listed", fields(image_id="nowhere"), 2),
        ("people have an area of about 0", fields(area=1), 2),
        (EMPTY, lambda p: p.update(bbox=[*p["bbox"][:2], -5, -5]), 2),
        (FRACTIONS, divided, 2),
        (POINT_FRACTIONS, keypoints(lambda t: t.__setitem__(np.s_[:, :2], t[:, :2] / 288)), 2),
        (ORIGIN, keypoints(lambda t: t.__setitem__((5, np.s_[:]), (0, 0, 2))), 2),
        (VISIBILITY, keypoints(lambda t: t.__setitem__((5, 2), 3)), 2),
        ("people have no box and only a single keypoint", one_keypoint, 2),
        ("", fields(category_id=2), 2),  # a child, which counts as a person
        ("", keypoints(lambda t: t.__setitem__((t[:, 2] == 0, np.s_[:2]), np.nan)), 2),
    ]
    for _, change, count in faults:
        for _ in range(count):
            change(next(rest))
    for person in far:
        as_corners(person)
    (tmp_path / "images" / "oriented").mkdir()
    for person in far:
        image = content["images"][int(person["image_id"]) - 1]
        name, image["file_name"] = image["file_name"], f"oriented/{image['file_name']}"
        (tmp_path / "images" / name).rename(tmp_path / "images" / image["file_name"])
    store_oriented(tmp_path / "images" / "oriented", 6)
    names = content["categories"][0]["keypoints"]
    names[names.index("left_ankle")] = "left_foot"  # so that two sides have no partner
    content["categories"][0]["name"] = "person"
    content["categories"] += [
        content["categories"][0] | {"id": 2, "name": "child"},
        {"id": 3, "name": "ball"},
        {"id": 4, "name": "hand", "keypoints": ["wrist", "thumb"]},
    ]
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit) as exit_:
        main(["check-data", str(path), "--out", str(tmp_path / "out"), "--samples", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert exit_.value.code == 3
    expected = [(text, count) for text, _, count in faults if text]
    expected += [
        (CORNERS, len(far)),
        ("the keypoints of the main category", 1),
        (f"images have an EXIF orientation and are {ROTATED}", len(far)),
        ("keypoints have a side in their names, but no partners", 2),
    ]
    for text, count in expected:
        (line,) = [line for line in lines if text in line]
        assert f": {count} " in line, line
    cases = (tmp_path / "out" / "findings.txt").read_text().splitlines()
    assert sum(case.split("\t")[1].startswith("people have an area of") for case in cases) == 2
    assert lines[-1].startswith(f"{tmp_path / 'out' / 'samples.jpg'}: not written: ")
