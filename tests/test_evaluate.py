"""The COCO figures equal pycocotools', and bad files are named in one line."""

import contextlib
import copy
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO as OracleCOCO
from pycocotools.cocoeval import COCOeval as OracleEvaluation

from higherhrnet.annotations import load_annotations, load_predictions
from higherhrnet.errors import InputError
from higherhrnet.evaluate import FIGURES, evaluate, format_figures
from higherhrnet.poses import Poses
from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton

File = dict[str, Any]
Results = list[dict[str, Any]]

HAND = Skeleton(
    "hand",
    names=("wrist", "thumb", "index", "little"),
    limbs=(("wrist", "thumb"), ("wrist", "index"), ("wrist", "little")),
    sigmas=(0.05, 0.02, 0.15, 0.3),
)


def random_person(rng: np.random.Generator, count: int) -> File:
    """Someone of any size: mostly labelled, sometimes not at all, sometimes a crowd region."""
    side = rng.choice([20, 60, 150, 400])
    corner = rng.uniform(0, 400, 2)
    xy = corner + rng.uniform(0, side, (count, 2))
    visibility = rng.choice([0, 1, 2], count, p=[0.3, 0.2, 0.5]) * (rng.random() > 0.15)
    width, height = rng.uniform(0.7, 1.1, 2) * side
    return {
        "category_id": 1,
        "keypoints": np.column_stack([xy.round(), visibility]).ravel().tolist(),
        "num_keypoints": int((visibility > 0).sum()),
        "bbox": [*corner.tolist(), width, height],
        "area": 0.6 * width * height,
        "iscrowd": int(rng.random() < 0.1),
    }


def random_result(
    rng: np.random.Generator, image_id: int, count: int, near: File | None, boxed: bool
) -> File:
    """A result near someone, or anywhere; one decimal of score, so that many are equal."""
    if near is None:
        xy, side = rng.uniform(0, 500, (count, 2)), 100.0
    else:
        xy = np.reshape(near["keypoints"], (count, 3))[:, :2]
        side = near["area"] ** 0.5
    xy = xy + rng.normal(0, rng.choice([0.01, 0.06, 0.2]) * side, xy.shape)
    result = {
        "image_id": image_id,
        "category_id": 1,
        "keypoints": np.column_stack([xy, np.ones(count)]).ravel().tolist(),
        "score": round(rng.random(), 1),
    }
    box = [*xy.min(0).tolist(), *np.ptp(xy, 0).tolist()]
    return result | ({"bbox": box} if boxed else {})


def random_case(
    seed: int, skeleton: Skeleton = COCO, images: int = 12, people: int = 6
) -> tuple[File, Results]:
    """Annotations and results; images without people, without results, with more than 20."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(1000)[:images].tolist()
    content: File = {
        "images": [{"id": id_, "file_name": f"{id_:012}.jpg"} for id_ in ids],
        "categories": [skeleton.to_category()],
        "annotations": [],
    }
    results: Results = []
    for id_ in ids:
        here = [random_person(rng, len(skeleton)) for _ in range(rng.integers(0, people + 1))]
        content["annotations"] += [person | {"image_id": id_} for person in here]
        nears = [None] * int(rng.choice([0, 2, 25])) + [p for p in here for _ in range(2)]
        rng.shuffle(nears)
        results += [random_result(rng, id_, len(skeleton), near, bool(seed % 2)) for near in nears]
    for number, person in enumerate(content["annotations"], 1):
        person["id"] = number
    return content, results


def oracle(content: File, results: Results, sigmas: tuple[float, ...] = COCO.sigmas) -> File:
    """What pycocotools says of the category 1."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = OracleCOCO(), OracleCOCO()
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        if results:
            found = truth.loadRes(copy.deepcopy(results))
        else:  # which loadRes does not take
            found.dataset = {**truth.dataset, "annotations": []}
            found.createIndex()
        evaluation = OracleEvaluation(truth, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(FIGURES, evaluation.stats, strict=True))


@pytest.fixture
def ours(tmp_path: Path) -> Callable[[File, Results], dict[str, float]]:
    """Our figures, by way of files."""

    def figures(content: File, results: Results) -> dict[str, float]:
        (tmp_path / "truth.json").write_text(json.dumps(content))
        (tmp_path / "predictions.json").write_text(json.dumps(results))
        annotations = load_annotations(tmp_path / "truth.json")
        return evaluate(annotations, load_predictions(tmp_path / "predictions.json"))

    return figures


def same(figures: dict[str, float]) -> Any:  # noqa: ANN401
    return pytest.approx(figures, abs=1e-6)


Ours = Callable[[File, Results], dict[str, float]]


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE, HAND], ids=lambda skeleton: skeleton.name)
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


def test_a_missing_box_is_that_of_the_labelled_keypoints(tmp_path: Path) -> None:
    content, _ = random_case(103, HAND)
    content["annotations"] = [
        {"image_id": 1, "keypoints": [10, 20, 2, 99, 99, 0, 40, 25, 1, 30, 80, 2]},
        {"image_id": 1},
    ]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    annotations = load_annotations(path)
    labelled, unlabelled = annotations.people
    assert (labelled["bbox"], labelled["area"], labelled["num_keypoints"]) == (
        [10, 20, 30, 60],
        1800,
        3,
    )
    assert (unlabelled["bbox"], unlabelled["keypoints"]) == ([0, 0, 0, 0], [0] * 12)
    assert (annotations.num_people, annotations.skeleton) == (1, HAND)


def test_the_skeleton_can_be_given(tmp_path: Path) -> None:
    content, results = random_case(104, HAND)
    content["categories"] = [{"id": 1, "name": "thing"}]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    figures = evaluate(load_annotations(path, HAND), results)
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
    assert evaluate(annotations, results) == evaluate(annotations, results)
    assert (annotations.people, annotations.images, results) == before
    assert capfd.readouterr() == ("", "")


def test_the_table_shows_every_figure() -> None:
    figures = {name: (number + 1) / 20 for number, name in enumerate(FIGURES)} | {"APL": -1.0}
    assert format_figures(figures, 1346, 973).splitlines() == [
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


def with_person(**fields: Any) -> File:  # noqa: ANN401
    content = one_person()
    content["annotations"][0] |= fields
    return content


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
        (one_person() | {"categories": []}, "categories: 0 may be"),
        (one_person() | {"categories": [{"id": 1, "name": "cat"}]}, "cat lists no keypoints"),
        (one_person() | {"categories": [{"id": 1, "keypoints": 5}]}, "not iterable"),
        (
            one_person() | {"categories": [{"id": n, "keypoints": ["tail"]} for n in (1, 2)]},
            "categories: 2 may be",
        ),
        (with_person(keypoints=[1, 2, 2] * 16), "annotation 41: keypoints must be 51 finite"),
        (with_person(keypoints=[1, 2] * 17), "annotation 41: keypoints"),
        (with_person(keypoints=[[1, 2, 2]] * 17), "annotation 41: keypoints"),
        (with_person(keypoints=["1"] * 51), "annotation 41: keypoints"),
        (with_person(keypoints=[float("nan")] * 51), "annotation 41: keypoints"),
        (with_person(bbox=[1, 2, 3]), "annotation 41: bbox must be 4"),
        (with_person(area="large"), "annotation 41: area must be 1"),
        (with_person(image_id=None), "annotations: entry 0 .* image_id"),
    ],
)
def test_annotations_of_another_form_are_named(
    content: Any,  # noqa: ANN401
    message: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        load_annotations(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


RESULT = {"image_id": 1, "category_id": 1, "keypoints": [1, 2, 0.5] * 17, "score": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "predictions: missing, or not a list"),
        ([5], "predictions: entry 0"),
        ([RESULT, {"score": 1}], "predictions: entry 1 .* image_id"),
        ([{"image_id": 7, "score": 0.5}], r"result 0 \(image 7\): keypoints"),
        (
            [RESULT, RESULT | {"keypoints": [1, 2]}],
            r"result 1 \(image 1\): keypoints must be three",
        ),
        ([RESULT | {"keypoints": []}], "result 0 .*: keypoints"),
        ([RESULT | {"keypoints": [[1, 2, 3], [1]]}], "result 0 .*: keypoints"),
        ([RESULT | {"keypoints": [1, 2, float("inf")]}], "result 0 .*: keypoints"),
        ([RESULT | {"score": None}], "result 0 .*: score must be 1"),
        ([RESULT | {"score": "high"}], "result 0 .*: score must be 1"),
        ([RESULT | {"bbox": [1, 2, 3]}], "result 0 .*: bbox must be 4"),
    ],
)
def test_predictions_of_another_form_are_named(
    content: Any,  # noqa: ANN401
    message: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        load_predictions(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_annotations, load_predictions])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "not JSON"),
        (b"[{", "not JSON"),
        (b"\xff\xd8\xff\xe0", "not JSON"),
    ],
)
def test_files_that_are_not_json_are_named(
    load: Callable[[Path], object], content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"file.json: {message}"):
        load(path)


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
        evaluate(load_annotations(path), results)
    assert str(caught.value).startswith(f"{path}: ")


def test_works_without_torch(tmp_path: Path) -> None:
    content, results = random_case(112)
    (tmp_path / "truth.json").write_text(json.dumps(content))
    (tmp_path / "predictions.json").write_text(json.dumps(results))
    script = """
import sys
sys.modules["torch"] = None  # importing it fails
from higherhrnet.annotations import load_annotations, load_predictions
from higherhrnet.evaluate import evaluate
assert "faster_coco_eval" not in sys.modules  # it is slow to import
print(evaluate(load_annotations("truth.json"), load_predictions("predictions.json"))["AP"])
"""
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(printed.stdout) == pytest.approx(oracle(content, results)["AP"], abs=1e-6)
