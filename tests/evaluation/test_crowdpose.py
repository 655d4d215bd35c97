"""CrowdPose's metrics equal those of a plain implementation with one loop over people."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from higherhrnet.evaluation.crowd_index import crowd_index, crowd_index_note
from higherhrnet.evaluation.metrics import CROWDPOSE_METRICS, evaluate_results, format_metrics
from higherhrnet.io.datasets.coco import Annotations, load_annotations
from higherhrnet.poses.skeletons import CROWDPOSE
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
    """A case like CrowdPose's files: no areas or segmentations, a crowd index in each image."""
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
    similarities, labeled = [], any(person["keypoints"][2::3])
    for k, sigma in enumerate(CROWDPOSE.sigmas):
        x, y = result["keypoints"][3 * k : 3 * k + 2]
        true_x, true_y, visible = person["keypoints"][3 * k : 3 * k + 3]
        if not labeled:
            true_x = min(max(x, left - width), left + 2 * width)
            true_y = min(max(y, top - height), top + 2 * height)
        if visible or not labeled:
            squared = (x - true_x) ** 2 + (y - true_y) ** 2
            similarities.append(math.exp(-squared / (2 * (2 * sigma) ** 2 * area)))
    return sum(similarities) / len(similarities)


def rate_results(
    content: File, results: Results, image: int, threshold: float
) -> list[tuple[float, str]]:
    """The scores of an image's 20 best results, and whether each is correct, wrong or ignored."""
    people = [p for p in content["annotations"] if p["image_id"] == image]
    free = {p["id"] for p in people}
    ratings = []
    in_image = [r for r in results if r["image_id"] == image]
    for result in sorted(in_image, key=lambda r: -r["score"])[:20]:
        candidates: list[tuple[float, int, File]] = []
        for rank, wanted in ((1, True), (0, False)):  # labeled people have priority
            for number, person in enumerate(people):
                evaluated = person["num_keypoints"] > 0 and not person["iscrowd"]
                available = person["id"] in free or person["iscrowd"]
                similarity = oks(result, person)
                if evaluated == wanted and available and similarity >= threshold:
                    candidates.append((rank + similarity / 2, number, person))
        if not candidates:
            ratings.append((result["score"], "wrong"))
            continue
        person = max(candidates, key=lambda candidate: candidate[:2])[2]
        free.discard(person["id"])
        ignored = person["num_keypoints"] == 0 or person["iscrowd"]
        ratings.append((result["score"], "ignored" if ignored else "correct"))
    return ratings


def average_precision_and_recall(
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
        ratings = [r for i in sorted(images) for r in rate_results(content, results, i, threshold)]
        ratings = [r for r in sorted(ratings, key=lambda r: -r[0]) if r[1] != "ignored"]
        correct, curve = 0, []
        for rank, (_, rating) in enumerate(ratings, 1):
            correct += rating == "correct"
            curve.append((correct / count, correct / rank))
        for step in range(101):
            reached = [p for r, p in curve if r >= RECALLS[step]]
            precisions.append(max(reached, default=0.0))
        recalls.append(correct / count)
    return sum(precisions) / len(precisions), sum(recalls) / len(recalls)


def plain_metrics(content: File, results: Results) -> dict[str, float]:
    every = np.linspace(0.5, 0.95, 10).tolist()
    ids = [image["id"] for image in content["images"]]
    index = {image["id"]: image["crowdIndex"] for image in content["images"]}
    easy = [i for i in ids if index[i] < 0.2]
    medium = [i for i in ids if 0.2 <= index[i] < 0.8]
    hard = [i for i in ids if index[i] >= 0.8]
    overall = [
        average_precision_and_recall(content, results, ids, t)
        for t in (every, every[:1], every[5:6])
    ]
    levels = [
        average_precision_and_recall(content, results, level, every)[0]
        for level in (easy, medium, hard)
    ]
    values = [*(ap for ap, _ in overall), *levels, *(ar for _, ar in overall)]
    return dict(zip(CROWDPOSE_METRICS, values, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_the_plain_implementation(seed: int, load: Load) -> None:
    content, results = crowdpose_case(seed)
    expected = plain_metrics(content, results)
    assert 0.02 < expected["AP"] < 0.98
    assert len({expected[f"AP_{level}"] for level in ("easy", "medium", "hard")}) == 3
    assert evaluate_results(load(content), results) == pytest.approx(expected, abs=1e-6)


def test_metrics_shared_with_coco_equal_pycocotools(load: Load) -> None:
    content, results = crowdpose_case(5)
    metrics = evaluate_results(load(content), results)
    for person in content["annotations"]:
        person["area"] = 0.53 * person["bbox"][2] * person["bbox"][3]
    expected = oracle(content, results, CROWDPOSE.sigmas)
    shared = set(expected) & set(CROWDPOSE_METRICS)
    assert len(shared) == 6
    assert {name: metrics[name] for name in shared} == pytest.approx(
        {name: expected[name] for name in shared}, abs=1e-6
    )


def test_areas_in_the_file_are_ignored(load: Load) -> None:
    content, results = crowdpose_case(6)
    expected = evaluate_results(load(content), results)
    for person in content["annotations"]:
        person["area"] = 77.0
    assert evaluate_results(load(content), results) == expected


def test_level_without_people_is_minus_one_and_shown_as_a_dash(load: Load) -> None:
    content, results = crowdpose_case(7)
    for image in content["images"]:
        image["crowdIndex"] = 0.3
    metrics = evaluate_results(load(content), results)
    assert (metrics["AP_easy"], metrics["AP_hard"]) == (-1, -1)
    assert metrics["AP_medium"] == metrics["AP"]
    metrics = {name: index / 10 for index, name in enumerate(CROWDPOSE_METRICS)} | {"AP_easy": -1.0}
    table = format_metrics(metrics, 12, 34).splitlines()
    assert [line.split()[-6:] for line in table[:2]] == [
        [".50", "OKS", ".75", "easy", "medium", "hard"],
        ["0.000", "0.100", "0.200", "–", "0.400", "0.500"],
    ]
    assert table[2:] == [
        "recall (AR)           0.600        0.700        0.800",
        "12 images, 34 people",
    ]


def test_without_results_and_without_people(load: Load) -> None:
    content, results = crowdpose_case(8)
    assert set(evaluate_results(load(content), []).values()) <= {0.0, -1.0}
    content["annotations"] = []
    assert set(evaluate_results(load(content), results).values()) == {-1.0}


def test_missing_crowd_index_is_computed(load: Load) -> None:
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
    assert crowd_index_note(content["images"]) == ""
    for image in content["images"]:
        del image["crowdIndex"]
    assert f"{len(content['images'])} images is missing" in crowd_index_note(content["images"])
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


def test_crowd_index_of_overlapping_and_separate_people() -> None:
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
