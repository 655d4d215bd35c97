"""COCO metrics equal those of pycocotools."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from higherhrnet.errors import InputError
from higherhrnet.evaluation.metrics import (
    COCO_METRICS,
    evaluate,
    evaluate_results,
    format_metrics,
    metric_table,
)
from higherhrnet.io.datasets.coco import load_annotations, load_predictions
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import AIC, COCO, COCO_WHOLEBODY
from higherhrnet.synthetic.scenes import write_scenes
from tests.evaluation.cases import HAND, File, Results, oracle, random_case


@pytest.fixture
def measure(tmp_path: Path) -> Callable[[File, Results], dict[str, float]]:
    """Computes the metrics from files."""

    def measure(content: File, results: Results) -> dict[str, float]:
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        (tmp_path / "predictions.json").write_text(json.dumps(results))
        annotations = load_annotations(tmp_path / "annotations.json")
        return evaluate_results(annotations, load_predictions(tmp_path / "predictions.json"))

    return measure


def close_to(metrics: dict[str, float]) -> Any:  # noqa: ANN401
    return pytest.approx(metrics, abs=1e-6)


Measure = Callable[[File, Results], dict[str, float]]


@pytest.mark.parametrize(
    ("skeleton", "seed"),
    [*product((COCO, HAND), range(12)), *product((AIC, COCO_WHOLEBODY), range(3))],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_metrics_of_random_results(skeleton: Skeleton, seed: int, measure: Measure) -> None:
    content, results = random_case(seed, skeleton)
    expected = oracle(content, results, skeleton.sigmas)
    assert 0.02 < expected["AP"] < 0.98
    metrics = measure(content, results)
    assert metrics == close_to(expected)
    assert {type(metric) for metric in metrics.values()} == {float}


def crowds_only(content: File, results: Results) -> None:
    for person in content["annotations"]:
        person["iscrowd"] = 1


def crowd_regions_without_keypoints(content: File, results: Results) -> None:
    for person in content["annotations"][::2]:
        person |= {"iscrowd": 1, "num_keypoints": 0, "keypoints": [0] * 51}


def no_annotations(content: File, results: Results) -> None:
    content["annotations"] = []


def no_annotations_in_half_the_images(content: File, results: Results) -> None:
    empty = {image["id"] for image in content["images"][::2]}
    content["annotations"] = [p for p in content["annotations"] if p["image_id"] not in empty]


def no_results(content: File, results: Results) -> None:
    results.clear()


def equal_scores(content: File, results: Results) -> None:
    for result in results:
        result["score"] = 0.5


def more_than_twenty_results_per_image(content: File, results: Results) -> None:
    results *= 3


def no_large_people(content: File, results: Results) -> None:
    for person in content["annotations"]:
        person["area"] = min(person["area"], 2000.0)


def other_categories(content: File, results: Results) -> None:
    content["categories"].insert(0, {"id": 7, "name": "ball"})
    content["annotations"].append(
        {"id": 5000, "image_id": content["images"][0]["id"], "category_id": 7, "bbox": [0, 0, 9, 9]}
    )
    results.append(results[0] | {"category_id": 7, "score": 1.0})


def annotations_of_unknown_images(content: File, results: Results) -> None:
    content["annotations"].append(content["annotations"][0] | {"id": 5000, "image_id": 123456})


def results_in_another_order(content: File, results: Results) -> None:
    results.reverse()
    content["images"].reverse()


@pytest.mark.parametrize(
    "change",
    [
        crowds_only,
        crowd_regions_without_keypoints,
        no_annotations,
        no_annotations_in_half_the_images,
        no_results,
        equal_scores,
        more_than_twenty_results_per_image,
        no_large_people,
        other_categories,
        annotations_of_unknown_images,
        results_in_another_order,
    ],
    ids=lambda change: change.__name__,
)
def test_metrics_of_edge_cases(change: Callable[[File, Results], None], measure: Measure) -> None:
    content, results = random_case(100)
    change(content, results)
    assert measure(content, results) == close_to(oracle(content, results))


def test_metrics_without_ground_truth_are_minus_one(measure: Measure) -> None:
    content, results = random_case(101)
    no_large_people(content, results)
    assert {name for name, metric in measure(content, results).items() if metric == -1} == {
        "APL",
        "ARL",
    }
    no_annotations(content, results)
    assert set(measure(content, results).values()) == {-1.0}


def test_missing_fields_of_annotations_are_completed(measure: Measure) -> None:
    content, results = random_case(102)
    filled = copy.deepcopy(content)
    for person, complete in zip(content["annotations"], filled["annotations"], strict=True):
        del person["area"], person["iscrowd"], person["num_keypoints"]
        complete |= {"iscrowd": 0, "area": complete["bbox"][2] * complete["bbox"][3]}
    assert measure(content, results) == close_to(oracle(filled, results))


def test_skeleton_can_be_passed(tmp_path: Path) -> None:
    content, results = random_case(104, HAND)
    content["categories"] = [{"id": 1, "name": "thing"}]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    metrics = evaluate_results(load_annotations(path, HAND), results)
    assert metrics == close_to(oracle(content, results, HAND.sigmas))


def with_new_ids(
    content: File,
    results: Results,
    annotation_id: Callable[[int], Any],
    result_id: Callable[[int], Any],
) -> tuple[File, Results]:
    """The same images with other IDs in annotations and results."""
    content, results = copy.deepcopy((content, results))
    for image in content["images"]:
        image["id"] = annotation_id(image["id"])
    for person in content["annotations"]:
        person["image_id"] = annotation_id(person["image_id"])
    for result in results:
        result["image_id"] = result_id(result["image_id"])
    return content, results


@pytest.mark.parametrize(
    ("annotation_id", "result_id"),
    [
        ("image-{:03}".format, "image-{:03}".format),
        (int, str),
        ("{:03}".format, "{:03}".format),
    ],
)
def test_image_ids_are_numbers_or_strings(
    annotation_id: Callable[[int], Any], result_id: Callable[[int], Any], measure: Measure
) -> None:
    content, results = random_case(105)
    expected = oracle(content, results)
    assert measure(*with_new_ids(content, results, annotation_id, result_id)) == close_to(expected)


@pytest.mark.parametrize("form", ["{:012}.jpg", "somewhere/else/{:012}.jpg", "{:012}.png"])
def test_result_is_paired_by_its_file_name(form: str, measure: Measure) -> None:
    content, results = random_case(106)
    expected = oracle(content, results)
    for result in results:
        result |= {"file_name": form.format(result["image_id"])}
    order = sorted(image["id"] for image in content["images"])
    # Each image has the ID in the annotations that the next image has in the results, so that only
    # the file name is correct.
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    content, results = with_new_ids(content, results, int, following.__getitem__)
    assert measure(content, results) == close_to(expected)


@pytest.mark.parametrize(
    "form",
    [
        "{:012}.jpg", "{:012}", "images/{:012}.jpg", "images\\{:012}.jpg", "{:012}.png",
        "https://host/set/{:012}.jpg?token=1", "{:d}", "/data/local-files/?d=images/{:012}.jpg",
    ],
)  # fmt: skip
@pytest.mark.parametrize("new_id", [lambda id_: id_ + 1, lambda id_: f"uuid-{id_:03}"])
def test_image_id_of_a_result_may_be_the_name_of_a_file(
    form: str, new_id: Callable[[int], Any], measure: Measure
) -> None:
    content, results = random_case(106)
    expected = oracle(content, results)
    content, results = with_new_ids(content, results, new_id, form.format)
    assert measure(content, results) == close_to(expected)


def test_numbers_are_ids_where_all_are_ids_and_else_file_names(measure: Measure) -> None:
    content, results = random_case(106)
    expected = oracle(content, results)
    order = sorted(image["id"] for image in content["images"])
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    # Only IDs can be meant, although every number is the name of another image as well.
    renamed, same = copy.deepcopy((content, results))
    for image in renamed["images"]:
        image["file_name"] = f"{following[image['id']]}.jpg"
    assert measure(renamed, same) == close_to(expected)
    # One number is no ID, so that file names are meant.
    shifted, numbered = with_new_ids(content, results, {**following, order[-1]: 1000}.get, int)
    assert measure(shifted, numbered) == close_to(expected)


def test_two_images_with_one_id_are_rejected(measure: Measure) -> None:
    content, results = random_case(106)
    content["images"].append(content["images"][0] | {"file_name": "other.jpg"})
    with pytest.raises(InputError, match=r"two images have the ID \d+, 0.*jpg and other\.jpg"):
        measure(content, results)


def test_an_image_that_is_listed_twice_counts_once(measure: Measure) -> None:
    content, results = random_case(106)
    expected = oracle(content, results)
    content["images"].append(content["images"][0])
    assert measure(content, results) == close_to(expected)


def test_categories_with_equal_keypoints_are_evaluated_together(measure: Measure) -> None:
    content, results = random_case(108)
    expected = oracle(content, results)
    content["categories"].append(content["categories"][0] | {"id": 2, "name": "child"})
    for person, result in zip(content["annotations"][::2], results[::2], strict=False):
        person["category_id"] = result["category_id"] = 2
    assert measure(content, results) == close_to(expected)


def test_files_of_equal_name_are_distinguished_by_folder_or_id(measure: Measure) -> None:
    content, results = random_case(107, images=2)
    expected = oracle(content, results)
    assert 0 < expected["AP"] < 1
    first, second = content["images"]
    first["file_name"], second["file_name"] = "a/photo.jpg", "b/photo.jpg"
    folder = {first["id"]: "a", second["id"]: "b"}
    for form in ("{}/photo.jpg", "photo.jpg"):
        named = [r | {"file_name": form.format(folder[r["image_id"]])} for r in results]
        assert measure(content, named) == close_to(expected)


def test_category_id_is_ignored_where_results_have_only_one(measure: Measure) -> None:
    content, results = random_case(108)
    expected = oracle(content, results)
    content["categories"][0]["id"] = 0
    for person in content["annotations"]:
        person["category_id"] = 0
    assert measure(content, results) == close_to(expected)
    for result in results:
        del result["category_id"]
    assert measure(content, results) == close_to(expected)


def test_person_with_id_0_is_counted(measure: Measure) -> None:
    content, results = random_case(109)
    expected = oracle(content, results)
    for person in content["annotations"]:
        person["id"] -= 1
    assert measure(content, results) == close_to(expected)


def test_ap_and_ar_of_the_ground_truth_are_one(tmp_path: Path, measure: Measure) -> None:
    content, _ = random_case(110)
    results: Results = []
    for image in content["images"]:
        in_image = [p for p in content["annotations"] if p["image_id"] == image["id"]]
        results += Poses.from_coco(in_image).to_coco(image["id"], file_name=image["file_name"])
    metrics = measure(content, results)
    assert [metrics["AP"], metrics["AR"]] == pytest.approx([1, 1])


def test_arguments_are_not_modified_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content, results = random_case(111)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    annotations = load_annotations(path)
    before = copy.deepcopy((annotations.people, annotations.images, results))
    assert evaluate_results(annotations, results) == evaluate_results(annotations, results)
    assert (annotations.people, annotations.images, results) == before
    assert capfd.readouterr() == ("", "")


def test_table_contains_every_metric() -> None:
    metrics = {name: (index + 1) / 20 for index, name in enumerate(COCO_METRICS)} | {"APL": -1.0}
    assert format_metrics(metrics, 1346, 973).splitlines() == [
        "                OKS .50–.95      OKS .50      OKS .75       medium        large",
        "precision (AP)        0.050        0.100        0.150        0.200            –",
        "recall (AR)           0.300        0.350        0.400        0.450        0.500",
        "1,346 images, 973 people",
    ]


def test_columns_of_the_table_do_not_depend_on_the_order_of_the_metrics() -> None:
    metrics = {"AR": 0.1, "AP90": 0.2, "APL": 0.3, "AP": 0.4, "AR75": 0.5, "AP75": 0.6}
    assert metric_table(metrics) == (
        ["OKS .50–.95", "OKS .75", "large"],
        {"precision (AP)": ["0.400", "0.600", "0.300"], "recall (AR)": ["0.100", "0.500", ""]},
    )


def file_with_one_person() -> File:
    return {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [COCO.to_category()],
        "annotations": [{"id": 41, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * 17}],
    }


RESULT = {"image_id": 1, "category_id": 1, "keypoints": [1, 2, 0.5] * 17, "score": 0.5}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([RESULT | {"image_id": n} for n in (1, 8, 9)], "no image for 2 of 3 results.* image 8$"),
        (
            [RESULT | {"image_id": 2, "file_name": "b.jpg"}],
            r"no image for 1 of 1 result.* image b\.jpg$",
        ),
        (
            [RESULT | {"keypoints": [1, 2, 0.5] * 14}],
            "people have 17 keypoints, but a result has 14",
        ),
    ],
)
def test_results_of_other_images_or_skeletons_are_rejected(
    results: Results, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(file_with_one_person()))
    with pytest.raises(InputError, match=message) as caught:
        evaluate_results(load_annotations(path), results)
    assert str(caught.value).startswith(f"{path}: ")


def test_evaluation_needs_no_torch(tmp_path: Path) -> None:
    content, results = random_case(112)
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (tmp_path / "predictions.json").write_text(json.dumps(results))
    script = """
import sys
sys.modules["torch"] = None  # makes its import fail
from higherhrnet.io.datasets.coco import load_annotations, load_predictions
from higherhrnet.evaluation.metrics import evaluate_results
assert "faster_coco_eval" not in sys.modules  # its import takes long
results = load_predictions("predictions.json")
print(evaluate_results(load_annotations("annotations.json"), results)["AP"])
"""
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(printed.stdout) == pytest.approx(oracle(content, results)["AP"], abs=1e-6)


def test_evaluate_accepts_files_and_results(tmp_path: Path) -> None:
    truth = write_scenes(tmp_path, 4, height=64, width=64)
    people = json.loads(truth.read_text())["annotations"]
    results = [person | {"score": 1.0} for person in people if person["num_keypoints"]]
    (tmp_path / "results.json").write_text(json.dumps(results))
    metrics = evaluate(truth, results)
    assert metrics["AP"] == pytest.approx(1)
    assert evaluate(str(truth), tmp_path / "results.json") == metrics
    with pytest.raises(InputError, match=r"missing\.json"):
        evaluate(truth, tmp_path / "missing.json")
