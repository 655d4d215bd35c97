"""CrowdPose's figures equal a plain implementation of its protocol, person by person."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.evaluation.crowd_index import crowd_index
from higherhrnet.evaluation.metrics import CROWDPOSE_METRICS, evaluate_results, format_metrics
from higherhrnet.io.coco import Annotations, load_annotations
from higherhrnet.skeleton import CROWDPOSE
from tests.evaluation.cases import File, Results, oracle, random_case

RECALLS = np.linspace(0, 1, 101).tolist()
Load = Callable[[File], Annotations]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(content: File) -> Annotations:
        (tmp_path / "crowdpose_test.json").write_text(json.dumps(content))
        return load_annotations(tmp_path / "crowdpose_test.json")

    return load


def crowdpose_case(seed: int, images: int = 8) -> tuple[File, Results]:
    """As CrowdPose's files are: no areas, no segmentations, a crowd index in each image."""
    content, results = random_case(seed, CROWDPOSE, images)
    rng = np.random.default_rng(seed)
    for image in content["images"]:
        image["crowdIndex"] = float(rng.choice([0, 0.1, 0.15, 0.2, 0.5, 0.79, 0.8, 0.95]))
    for person in content["annotations"]:
        del person["area"]
    return content, results


def oks(result: File, person: File) -> float:
    area = 0.53 * person["bbox"][2] * person["bbox"][3]
    left, top, width, height = person["bbox"]
    near, labeled = [], any(person["keypoints"][2::3])
    for k, sigma in enumerate(CROWDPOSE.sigmas):
        x, y = result["keypoints"][3 * k : 3 * k + 2]
        true_x, true_y, visible = person["keypoints"][3 * k : 3 * k + 3]
        if not labeled:
            true_x = min(max(x, left - width), left + 2 * width)
            true_y = min(max(y, top - height), top + 2 * height)
        if visible or not labeled:
            squared = (x - true_x) ** 2 + (y - true_y) ** 2
            near.append(math.exp(-squared / (2 * (2 * sigma) ** 2 * area)))
    return sum(near) / len(near)


def hits(content: File, results: Results, image: int, threshold: float) -> list[tuple[float, str]]:
    """Of the 20 best results in an image the score, and whether each is right, wrong or neither."""
    people = [p for p in content["annotations"] if p["image_id"] == image]
    free = {p["id"] for p in people}
    marks = []
    here = [r for r in results if r["image_id"] == image]
    for result in sorted(here, key=lambda r: -r["score"])[:20]:
        fits: list[tuple[float, int, File]] = []
        for rank, wanted in ((1, True), (0, False)):  # labelled people are tried first
            for number, person in enumerate(people):
                judged = person["num_keypoints"] > 0 and not person["iscrowd"]
                open_ = person["id"] in free or person["iscrowd"]
                if judged == wanted and open_ and (fit := oks(result, person)) >= threshold:
                    fits.append((rank + fit / 2, number, person))
        if not fits:
            marks.append((result["score"], "wrong"))
            continue
        person = max(fits, key=lambda fit: fit[:2])[2]
        free.discard(person["id"])
        ignored = person["num_keypoints"] == 0 or person["iscrowd"]
        marks.append((result["score"], "neither" if ignored else "right"))
    return marks


def average(
    content: File, results: Results, images: Sequence[int], thresholds: Sequence[float]
) -> tuple[float, float]:
    """AP and AR over some of the images."""
    count = sum(
        p["num_keypoints"] > 0 and not p["iscrowd"] and p["image_id"] in images
        for p in content["annotations"]
    )
    if not count:
        return -1.0, -1.0
    precisions, recalls = [], []
    for threshold in thresholds:
        marks = [m for i in sorted(images) for m in hits(content, results, i, threshold)]
        marks = [m for m in sorted(marks, key=lambda m: -m[0]) if m[1] != "neither"]
        right, curve = 0, []
        for place, (_, mark) in enumerate(marks, 1):
            right += mark == "right"
            curve.append((right / count, right / place))
        for step in range(101):
            reached = [p for r, p in curve if r >= RECALLS[step]]
            precisions.append(max(reached, default=0.0))
        recalls.append(right / count)
    return sum(precisions) / len(precisions), sum(recalls) / len(recalls)


def plain_figures(content: File, results: Results) -> dict[str, float]:
    every = np.linspace(0.5, 0.95, 10).tolist()
    ids = [image["id"] for image in content["images"]]
    index = {image["id"]: image["crowdIndex"] for image in content["images"]}
    easy = [i for i in ids if index[i] < 0.2]
    medium = [i for i in ids if 0.2 <= index[i] < 0.8]
    hard = [i for i in ids if index[i] >= 0.8]
    overall = [average(content, results, ids, t) for t in (every, every[:1], every[5:6])]
    levels = [average(content, results, some, every)[0] for some in (easy, medium, hard)]
    values = [*(ap for ap, _ in overall), *levels, *(ar for _, ar in overall)]
    return dict(zip(CROWDPOSE_METRICS, values, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_the_plain_protocol(seed: int, load: Load) -> None:
    content, results = crowdpose_case(seed)
    expected = plain_figures(content, results)
    assert 0.02 < expected["AP"] < 0.98
    assert len({expected[f"AP_{level}"] for level in ("easy", "medium", "hard")}) == 3
    assert evaluate_results(load(content), results) == pytest.approx(expected, abs=1e-6)


def test_the_figures_it_shares_with_coco_are_pycocotools_over_its_areas(load: Load) -> None:
    content, results = crowdpose_case(5)
    figures = evaluate_results(load(content), results)
    for person in content["annotations"]:
        person["area"] = 0.53 * person["bbox"][2] * person["bbox"][3]
    expected = oracle(content, results, CROWDPOSE.sigmas)
    shared = set(expected) & set(CROWDPOSE_METRICS)
    assert len(shared) == 6
    assert {name: figures[name] for name in shared} == pytest.approx(
        {name: expected[name] for name in shared}, abs=1e-6
    )


def test_areas_in_the_file_do_not_count(load: Load) -> None:
    content, results = crowdpose_case(6)
    expected = evaluate_results(load(content), results)
    for person in content["annotations"]:
        person["area"] = 77.0
    assert evaluate_results(load(content), results) == expected


def test_a_level_without_people_is_minus_one_and_a_dash(load: Load) -> None:
    content, results = crowdpose_case(7)
    for image in content["images"]:
        image["crowdIndex"] = 0.3
    figures = evaluate_results(load(content), results)
    assert (figures["AP_easy"], figures["AP_hard"]) == (-1, -1)
    assert figures["AP_medium"] == figures["AP"]
    figures = {name: place / 10 for place, name in enumerate(CROWDPOSE_METRICS)} | {"AP_easy": -1.0}
    table = format_metrics(figures, 12, 34).splitlines()
    assert [line.split()[-6:] for line in table[:2]] == [
        [".50", "OKS", ".75", "easy", "medium", "hard"],
        ["0.000", "0.100", "0.200", "–", "0.400", "0.500"],
    ]
    assert table[2:] == [
        "recall (AR)           0.600        0.700        0.800",
        "12 images, 34 people",
    ]


def test_nobody_found_and_nobody_there(load: Load) -> None:
    content, results = crowdpose_case(8)
    assert set(evaluate_results(load(content), []).values()) <= {0.0, -1.0}
    content["annotations"] = []
    assert set(evaluate_results(load(content), results).values()) == {-1.0}


def test_a_missing_crowd_index_is_computed(load: Load) -> None:
    content, results = crowdpose_case(9)
    by_image = {
        image["id"]: [
            p
            for p in load(content).people
            if p["image_id"] == image["id"] and p["num_keypoints"] and not p["iscrowd"]
        ]
        for image in content["images"]
    }
    indices = {id_: plain_crowd_index(people) for id_, people in by_image.items()}
    for image in content["images"]:
        image["crowdIndex"] = indices[image["id"]]
    expected = evaluate_results(load(content), results)
    for image in content["images"]:
        del image["crowdIndex"]
    assert evaluate_results(load(content), results) == expected
    for id_, people in by_image.items():
        assert crowd_index(people) == pytest.approx(indices[id_])
    assert len({value for value in indices.values() if 0 < value < 1}) >= 3


def plain_crowd_index(people: list[File]) -> float:
    ratios = []
    for person in people:
        left, top, width, height = person["bbox"]
        counts = {True: 0, False: 0}
        for other in people:
            for k in range(len(CROWDPOSE)):
                x, y, visible = other["keypoints"][3 * k : 3 * k + 3]
                if visible and left <= x <= left + width and top <= y <= top + height:
                    counts[other is person] += 1
        ratios.append(counts[False] / max(counts[True], 1))
    return min(1.0, sum(ratios) / len(ratios)) if len(people) > 1 else 0.0


def test_two_people_in_one_place_are_a_crowd_and_two_apart_are_none() -> None:
    def person(x: float) -> File:
        keypoints = [value for k in range(14) for value in (x + k, 10 + k, 2)]
        box = [x, 10, 13, 13]
        return {"keypoints": keypoints, "bbox": box, "num_keypoints": 14, "iscrowd": 0}

    assert crowd_index([person(0), person(0)]) == 1
    assert crowd_index([person(0), person(50)]) == 0
    assert crowd_index([person(0), person(6)]) == pytest.approx(0.5, abs=0.1)
    assert crowd_index([person(0)] * 5) == 1
    assert crowd_index([]) == 0
    assert crowd_index([person(0), person(0) | {"iscrowd": 1}]) == 0
