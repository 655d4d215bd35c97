"""The COCO figures equal pycocotools'."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import COCO_METRICS, evaluate_results, format_metrics
from higherhrnet.io.coco import load_annotations, load_predictions
from higherhrnet.poses import Poses
from higherhrnet.skeleton import COCO, Skeleton
from tests.evaluation.cases import HAND, File, Results, oracle, random_case


@pytest.fixture
def ours(tmp_path: Path) -> Callable[[File, Results], dict[str, float]]:
    """Our figures, by way of files."""

    def figures(content: File, results: Results) -> dict[str, float]:
        (tmp_path / "truth.json").write_text(json.dumps(content))
        (tmp_path / "predictions.json").write_text(json.dumps(results))
        annotations = load_annotations(tmp_path / "truth.json")
        return evaluate_results(annotations, load_predictions(tmp_path / "predictions.json"))

    return figures


def same(figures: dict[str, float]) -> Any:  # noqa: ANN401
    return pytest.approx(figures, abs=1e-6)


Ours = Callable[[File, Results], dict[str, float]]


@pytest.mark.parametrize("skeleton", [COCO, HAND], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("seed", range(12))
def test_random_results_score_as_in_pycocotools(seed: int, skeleton: Skeleton, ours: Ours) -> None:
    content, results = random_case(seed, skeleton)
    expected = oracle(content, results, skeleton.sigmas)
    assert 0.02 < expected["AP"] < 0.98
    figures = ours(content, results)
    assert figures == same(expected)
    assert {type(figure) for figure in figures.values()} == {float}


def crowds_only(content: File, results: Results) -> None:
    for person in content["annotations"]:
        person["iscrowd"] = 1


def crowd_regions_without_keypoints(content: File, results: Results) -> None:
    for person in content["annotations"][::2]:
        person |= {"iscrowd": 1, "num_keypoints": 0, "keypoints": [0] * 51}


def nobody_annotated(content: File, results: Results) -> None:
    content["annotations"] = []


def nobody_in_half_the_images(content: File, results: Results) -> None:
    empty = {image["id"] for image in content["images"][::2]}
    content["annotations"] = [p for p in content["annotations"] if p["image_id"] not in empty]


def nobody_found(content: File, results: Results) -> None:
    results.clear()


def one_score_for_all(content: File, results: Results) -> None:
    for result in results:
        result["score"] = 0.5


def many_more_than_twenty_an_image(content: File, results: Results) -> None:
    results *= 3


def nobody_large(content: File, results: Results) -> None:
    for person in content["annotations"]:
        person["area"] = min(person["area"], 2000.0)


def other_categories(content: File, results: Results) -> None:
    content["categories"].insert(0, {"id": 7, "name": "ball"})
    content["annotations"].append(
        {"id": 5000, "image_id": content["images"][0]["id"], "category_id": 7, "bbox": [0, 0, 9, 9]}
    )
    results.append(results[0] | {"category_id": 7, "score": 1.0})


def annotations_of_no_image(content: File, results: Results) -> None:
    content["annotations"].append(content["annotations"][0] | {"id": 5000, "image_id": 123456})


def results_in_another_order(content: File, results: Results) -> None:
    results.reverse()
    content["images"].reverse()


@pytest.mark.parametrize(
    "change",
    [
        crowds_only,
        crowd_regions_without_keypoints,
        nobody_annotated,
        nobody_in_half_the_images,
        nobody_found,
        one_score_for_all,
        many_more_than_twenty_an_image,
        nobody_large,
        other_categories,
        annotations_of_no_image,
        results_in_another_order,
    ],
    ids=lambda change: change.__name__,
)
def test_edge_cases_score_as_in_pycocotools(
    change: Callable[[File, Results], None], ours: Ours
) -> None:
    content, results = random_case(100)
    change(content, results)
    assert ours(content, results) == same(oracle(content, results))


def test_figures_without_anyone_to_judge_by_are_minus_one(ours: Ours) -> None:
    content, results = random_case(101)
    nobody_large(content, results)
    assert {name for name, figure in ours(content, results).items() if figure == -1} == {
        "APL",
        "ARL",
    }
    nobody_annotated(content, results)
    assert set(ours(content, results).values()) == {-1.0}


def test_what_annotations_leave_out_is_filled_in(ours: Ours) -> None:
    content, results = random_case(102)
    filled = copy.deepcopy(content)
    for person, whole in zip(content["annotations"], filled["annotations"], strict=True):
        del person["area"], person["iscrowd"], person["num_keypoints"]
        whole |= {"iscrowd": 0, "area": whole["bbox"][2] * whole["bbox"][3]}
    assert ours(content, results) == same(oracle(filled, results))


def test_the_skeleton_can_be_given(tmp_path: Path) -> None:
    content, results = random_case(104, HAND)
    content["categories"] = [{"id": 1, "name": "thing"}]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    figures = evaluate_results(load_annotations(path, HAND), results)
    assert figures == same(oracle(content, results, HAND.sigmas))


def renamed(
    content: File, results: Results, truth: Callable[[int], Any], found: Callable[[int], Any]
) -> tuple[File, Results]:
    """The same images under other ids in annotations and results."""
    content, results = copy.deepcopy((content, results))
    for image in content["images"]:
        image["id"] = truth(image["id"])
    for person in content["annotations"]:
        person["image_id"] = truth(person["image_id"])
    for result in results:
        result["image_id"] = found(result["image_id"])
    return content, results


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        ("image-{:03}".format, "image-{:03}".format),
        (int, str),
        ("{:03}".format, "{:03}".format),
    ],
)
def test_image_ids_are_numbers_or_strings(
    truth: Callable[[int], Any], found: Callable[[int], Any], ours: Ours
) -> None:
    content, results = random_case(105)
    expected = oracle(content, results)
    assert ours(*renamed(content, results, truth, found)) == same(expected)


@pytest.mark.parametrize("form", ["{:012}.jpg", "somewhere/else/{:012}.jpg", "{:012}.png"])
def test_a_result_belongs_to_the_image_of_its_file(form: str, ours: Ours) -> None:
    content, results = random_case(106)
    expected = oracle(content, results)
    for result in results:
        result |= {"file_name": form.format(result["image_id"])}
    order = sorted(image["id"] for image in content["images"])
    # The results' id is the next image's in the annotations: only the file's name tells them apart.
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    content, results = renamed(content, results, int, following.__getitem__)
    assert ours(content, results) == same(expected)


def test_files_of_one_name_are_told_apart_by_folder_or_id(ours: Ours) -> None:
    content, results = random_case(107, images=2)
    expected = oracle(content, results)
    assert 0 < expected["AP"] < 1
    first, second = content["images"]
    first["file_name"], second["file_name"] = "a/photo.jpg", "b/photo.jpg"
    folder = {first["id"]: "a", second["id"]: "b"}
    for form in ("{}/photo.jpg", "photo.jpg"):
        named = [r | {"file_name": form.format(folder[r["image_id"]])} for r in results]
        assert ours(content, named) == same(expected)


def test_the_number_of_the_category_does_not_matter_where_results_have_only_one(ours: Ours) -> None:
    content, results = random_case(108)
    expected = oracle(content, results)
    content["categories"][0]["id"] = 0
    for person in content["annotations"]:
        person["category_id"] = 0
    assert ours(content, results) == same(expected)


def test_the_person_of_id_0_counts(ours: Ours) -> None:
    content, results = random_case(109)
    expected = oracle(content, results)
    for person in content["annotations"]:
        person["id"] -= 1
    assert ours(content, results) == same(expected)


def test_poses_that_are_the_truth_score_one(tmp_path: Path, ours: Ours) -> None:
    content, _ = random_case(110)
    results: Results = []
    for image in content["images"]:
        here = [p for p in content["annotations"] if p["image_id"] == image["id"]]
        results += Poses.from_coco(here).to_coco(image["id"], file_name=image["file_name"])
    figures = ours(content, results)
    assert [figures["AP"], figures["AR"]] == pytest.approx([1, 1])


def test_nothing_is_printed_and_nothing_given_is_changed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content, results = random_case(111)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    annotations = load_annotations(path)
    before = copy.deepcopy((annotations.people, annotations.images, results))
    assert evaluate_results(annotations, results) == evaluate_results(annotations, results)
    assert (annotations.people, annotations.images, results) == before
    assert capfd.readouterr() == ("", "")


def test_the_table_shows_every_figure() -> None:
    figures = {name: (number + 1) / 20 for number, name in enumerate(COCO_METRICS)} | {"APL": -1.0}
    assert format_metrics(figures, 1346, 973).splitlines() == [
        "                OKS .50–.95      OKS .50      OKS .75       medium        large",
        "precision (AP)        0.050        0.100        0.150        0.200            –",
        "recall (AR)           0.300        0.350        0.400        0.450        0.500",
        "1,346 images, 973 people",
    ]


def one_person() -> File:
    return {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [COCO.to_category()],
        "annotations": [{"id": 41, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * 17}],
    }


RESULT = {"image_id": 1, "category_id": 1, "keypoints": [1, 2, 0.5] * 17, "score": 0.5}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([RESULT | {"image_id": n} for n in (1, 8, 9)], "2 of 3 results, first 8"),
        ([RESULT | {"image_id": 2, "file_name": "b.jpg"}], "1 of 1 results, first b.jpg"),
        ([RESULT | {"keypoints": [1, 2, 0.5] * 14}], "17 keypoints a person, but 14"),
    ],
)
def test_results_of_other_images_or_skeletons_are_named(
    results: Results, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(one_person()))
    with pytest.raises(InputError, match=message) as caught:
        evaluate_results(load_annotations(path), results)
    assert str(caught.value).startswith(f"{path}: ")


def test_works_without_torch(tmp_path: Path) -> None:
    content, results = random_case(112)
    (tmp_path / "truth.json").write_text(json.dumps(content))
    (tmp_path / "predictions.json").write_text(json.dumps(results))
    script = """
import sys
sys.modules["torch"] = None  # importing it fails
from higherhrnet.io.coco import load_annotations, load_predictions
from higherhrnet.evaluation.metrics import evaluate_results
assert "faster_coco_eval" not in sys.modules  # it is slow to import
print(evaluate_results(load_annotations("truth.json"), load_predictions("predictions.json"))["AP"])
"""
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(printed.stdout) == pytest.approx(oracle(content, results)["AP"], abs=1e-6)
