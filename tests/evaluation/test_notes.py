"""`higherhrnet evaluate` reports what it leaves out, and rejects datasets without people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from higherhrnet.cli.main import main
from tests.evaluation.cases import File

Change = Callable[[File], None]
KEYPOINTS = [10, 20, 2, 40, 30, 2, 20, 80, 2, 30, 90, 2]
BALL = "1 annotation of the category ball is left out (annotation 9)"


def dataset() -> File:
    """One image with a person and a ball."""
    names = ["wrist", "thumb", "index", "little"]
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 96, "height": 96}],
        "categories": [{"id": 1, "name": "person", "keypoints": names}, {"id": 2, "name": "ball"}],
        "annotations": [
            {"id": 8, "image_id": 1, "category_id": 1, "keypoints": KEYPOINTS, "area": 3000},
            {"id": 9, "image_id": 1, "category_id": 2},
        ],
    }


@pytest.fixture
def evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """Evaluates a perfect result, and another one for each further category."""

    def run(change: Change, *categories: int) -> tuple[object, str, str]:
        content = dataset()
        change(content)
        result = {"image_id": "a", "keypoints": KEYPOINTS, "score": 1}
        results = [result | {"category_id": number} for number in (1, *categories)]
        paths = [tmp_path / "truth.json", tmp_path / "results.json"]
        for path, value in zip(paths, (content, results), strict=True):
            path.write_text(json.dumps(value))
        with pytest.raises(SystemExit) as exit_:
            main(["evaluate", "--annotations", str(paths[0]), "--predictions", str(paths[1])])
        return exit_.value.code, *capsys.readouterr()

    return run


def person(**fields: Any) -> Change:  # noqa: ANN401
    return lambda content: content["annotations"][0].update(fields)


def add(**fields: Any) -> Change:  # noqa: ANN401
    def change(content: File) -> None:
        content["annotations"].append(content["annotations"][0] | {"id": 10} | fields)

    return change


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda _: None, []),
        (
            person(category_id="1", image_id=1.0, iscrowd="no"),
            [
                "note: 1 annotation has values of another JSON type or form than COCO's, which "
                "were converted (annotation 8: image_id, category_id, iscrowd)"
            ],
        ),
        (
            person(area=1),
            [
                "error: 1 person has an area of about 0, so that hardly any result can match, "
                "100 % of 1 (a.jpg, annotation 8: area 1)"
            ],
        ),
        (
            person(area=0.5, id="x\ny"),
            [
                "error: 1 person has an area of about 0, so that hardly any result can match, "
                "100 % of 1 (a.jpg, annotation x\\ny: area 0.5)"
            ],
        ),
        (
            add(area=0, iscrowd=1),  # a crowd region is not evaluated
            [],
        ),
        (
            add(image_id=77),
            [
                "error: 1 annotation belongs to an image that is not listed "
                "(annotation 10 of image 77)"
            ],
        ),
    ],
)
def test_notes_follow_the_metrics(
    change: Change, lines: list[str], evaluate: Callable[..., tuple[object, str, str]]
) -> None:
    code, output, errors = evaluate(change)
    assert (code, errors) == (0, "")
    assert output.splitlines()[3] == "1 image, 1 person"
    assert sorted(output.splitlines()[4:]) == sorted([f"note: {BALL}", *lines])
    assert output.splitlines()[1].split()[2] == "1.000"


@pytest.mark.parametrize(
    ("results", "note"),
    [
        ([], "note: there are no results"),
        (
            [{"category_id": 0, "keypoints": KEYPOINTS}],
            "note: category_id is ignored, since no result is of the people's category",
        ),
        (
            [{"category_id": 1, "keypoints": [value / 88 for value in KEYPOINTS]}],  # up to 1.02
            "error: all coordinates of the results are about 0 to 1, not in pixels",
        ),
        ([{"category_id": 1, "keypoints": [0] * 12}], None),  # a person without keypoints
    ],
)
def test_files_of_results_that_are_probably_wrong_are_noted(
    results: list[dict[str, Any]],
    note: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "truth.json").write_text(json.dumps(dataset()))
    entries = [{"image_id": "a", "score": 1} | result for result in results]
    (tmp_path / "results.json").write_text(json.dumps(entries))
    command = ["evaluate", "--annotations", str(tmp_path / "truth.json")]
    with pytest.raises(SystemExit):
        main([*command, "--predictions", str(tmp_path / "results.json")])
    notes = set(capsys.readouterr().out.splitlines()[4:]) - {f"note: {BALL}"}
    assert notes == ({note} if note else set())


def test_results_of_other_categories_are_counted(
    evaluate: Callable[..., tuple[object, str, str]],
) -> None:
    _, output, _ = evaluate(lambda _: None, 2, 2)
    assert "note: 2 results of other categories are left out" in output.splitlines()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (person(iscrowd=True), "1 annotation of people, of which 1 is a crowd and 0 have no"),
        (person(keypoints=[5, 5, 0] * 4), "of which 0 are crowds and 1 has no labeled keypoints"),
        (person(category_id=2), "0 annotations of people, .*; 2 annotations of the category ball"),
        (person(image_id="b"), "1 annotation belongs to an image that is not listed"),
        (lambda content: content["annotations"].clear(), "0 annotations of people"),
    ],
)
def test_a_dataset_without_people_is_rejected_with_the_reasons(
    change: Change, reason: str, evaluate: Callable[..., tuple[object, str, str]]
) -> None:
    code, output, errors = evaluate(change)
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert re.search(f"contains no person with labeled keypoints: .*{reason}", errors)
