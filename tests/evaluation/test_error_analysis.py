"""Errors that are made in the ground truth on purpose are counted as such."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from higherhrnet.evaluation.error_analysis import (
    KEYPOINTS,
    PEOPLE,
    RESULTS,
    ErrorCounts,
    analyze_errors,
)
from higherhrnet.evaluation.pairing import pair_results
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.poses.skeletons import COCO
from tests.evaluation.cases import File, Results

Poses = NDArray[np.float64]  # (P, 17, 2)

FLIP = list(COCO.flip_index)
STANDING = np.array(
    [(50, 10), (55, 5), (45, 5), (60, 8), (40, 8), (70, 30), (30, 30), (80, 60), (20, 60), (85, 90),
     (15, 90), (62, 90), (38, 90), (64, 130), (36, 130), (65, 170), (35, 170)], float,
)  # fmt: skip
AREA = 6000.0


def people_in_a_row(people: int) -> Poses:
    """People in a row, so far apart that nobody is near another person's keypoints."""
    return STANDING + np.stack([200.0 * np.arange(people), np.zeros(people)], 1)[:, None]


def annotation_file(people: Poses, visible: int = 2) -> File:
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "keypoints": np.column_stack([person, np.full(17, visible)]).ravel().tolist(),
            "bbox": [*person.min(0).tolist(), *np.ptp(person, 0).tolist()],
            "area": AREA,
            "iscrowd": 0,
        }
        for number, person in enumerate(people, 1)
    ]
    images = [{"id": 1, "file_name": "a.jpg"}]
    return {"images": images, "categories": [COCO.to_category()], "annotations": annotations}


def results_from(poses: Poses) -> Results:
    """Results in descending order of score."""
    return [
        {
            "image_id": 1,
            "category_id": 1,
            "keypoints": np.column_stack([pose, np.ones(17)]).ravel().tolist(),
            "score": 0.9 - 0.01 * rank,
        }
        for rank, pose in enumerate(poses)
    ]


Analyze = Callable[[File, Results], ErrorCounts]


@pytest.fixture
def analyze(tmp_path: Path) -> Analyze:
    def analyze(content: File, results: Results) -> ErrorCounts:
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        annotations = load_annotations(tmp_path / "annotations.json")
        (errors,) = analyze_errors(pair_results(annotations, results))
        assert set(errors.people) <= set(PEOPLE)
        assert set(errors.results) <= set(RESULTS)
        assert set(errors.keypoints) <= set(KEYPOINTS)
        return errors

    return analyze


def distance(keypoint: int, similarity: float) -> float:
    """The distance in pixels at which a keypoint has a similarity: the inverse of OKS."""
    return float(np.sqrt(-np.log(similarity) * 8 * AREA) * COCO.sigmas[keypoint])


def test_ground_truth_has_no_errors(analyze: Analyze) -> None:
    people = people_in_a_row(4)
    errors = analyze(annotation_file(people), results_from(people))
    assert errors.people == {"matched": 4}
    assert errors.results == {"matched": 4}
    assert errors.keypoints == {"good": 68}
    assert errors.total_error == 0


def test_people_without_results_are_missed(analyze: Analyze) -> None:
    people = people_in_a_row(5)
    errors = analyze(annotation_file(people), results_from(people[[0, 2]]))
    assert errors.people == {"matched": 2, "missed": 3}
    assert errors.keypoints == {"good": 34}
    assert errors.total_error == 3


def test_without_results_and_without_people(analyze: Analyze) -> None:
    people = people_in_a_row(3)
    assert analyze(annotation_file(people), []).people == {"missed": 3}
    errors = analyze(annotation_file(people[:0]), results_from(people))
    assert (errors.people, errors.results) == ({}, {"background false positive": 3})
    assert errors.total_error == pytest.approx(0.9 + 0.89 + 0.88)


def test_additional_results_on_a_person_are_duplicates(analyze: Analyze) -> None:
    people = people_in_a_row(3)
    copies = people[[0, 1, 2, 0, 0, 1]] + np.array([0, 0, 0, 1, 2, 3])[:, None, None]
    errors = analyze(annotation_file(people), results_from(copies))
    assert errors.people == {"matched": 3}
    assert errors.results == {"matched": 3, "duplicate": 3}
    assert errors.keypoints == {"good": 51}


def test_results_that_match_no_person_are_background_false_positives(analyze: Analyze) -> None:
    people = people_in_a_row(2)
    errors = analyze(
        annotation_file(people), results_from(np.concatenate([people, people + np.array([0, 900])]))
    )
    assert errors.results == {"matched": 2, "background false positive": 2}
    assert errors.people == {"matched": 2}


def test_only_the_twenty_best_results_are_counted(analyze: Analyze) -> None:
    people = people_in_a_row(1)
    errors = analyze(annotation_file(people), results_from(people.repeat(30, 0)))
    assert errors.results == {"matched": 1, "duplicate": 19}


@pytest.mark.parametrize("pairs", [[(9, 10)], [(9, 10), (15, 16)], [(5, 6), (11, 12), (13, 14)]])
def test_exchanged_left_and_right_keypoints_are_inversions(
    pairs: list[tuple[int, int]], analyze: Analyze
) -> None:
    people, poses = people_in_a_row(3), people_in_a_row(3)
    for left, right in pairs:
        poses[1, [left, right]] = poses[1, [right, left]]
    errors = analyze(annotation_file(people), results_from(poses))
    assert errors.people == {"matched": 3}
    wrong = 2 * len(pairs)
    assert errors.keypoints == {"good": 51 - wrong, "inversion": wrong}


def test_fully_inverted_person_is_poorly_matched(analyze: Analyze) -> None:
    """The OKS of a person with all sides exchanged is below 0.5, but it is clearly that person."""
    people = people_in_a_row(2)
    poses = people.copy()
    poses[0] = poses[0, FLIP]
    errors = analyze(annotation_file(people), results_from(poses))
    assert errors.people == {"matched": 1, "poorly matched": 1}
    assert errors.results == {"matched": 2}
    # The nose has no other side.
    assert errors.keypoints == {"good": 18, "inversion": 16}


def test_keypoints_on_another_person_are_swaps(analyze: Analyze) -> None:
    people, poses = people_in_a_row(3), people_in_a_row(3)
    poses[0, [9, 10]] = people[1, [9, 10]]  # both wrists of the neighbor
    poses[2, 15] = people[1, 16]  # and a foot, with left and right exchanged
    errors = analyze(annotation_file(people), results_from(poses))
    assert errors.people == {"matched": 3}
    assert errors.results == {"matched": 3}
    assert errors.keypoints == {"good": 48, "swap": 3}


@pytest.mark.parametrize(
    ("similarity", "category"), [(0.9, "good"), (0.84, "jitter"), (0.51, "jitter"), (0.49, "miss")]
)
def test_category_of_a_keypoint_depends_on_its_distance(
    similarity: float, category: str, analyze: Analyze
) -> None:
    people, poses = people_in_a_row(2), people_in_a_row(2)
    for keypoint in (9, 13):
        poses[0, keypoint, 1] += distance(keypoint, similarity)
    errors = analyze(annotation_file(people), results_from(poses))
    assert errors.keypoints == Counter({"good": 32}) + Counter({category: 2})


def test_undetected_keypoints_are_misses(analyze: Analyze) -> None:
    people = people_in_a_row(2) + 50
    poses = people.copy()
    poses[1, :3] = 0
    errors = analyze(annotation_file(people), results_from(poses))
    assert errors.keypoints == {"good": 31, "miss": 3}


@pytest.mark.parametrize("num_of_second", [5, 8, 12])
def test_one_result_on_two_people_merges_them(num_of_second: int, analyze: Analyze) -> None:
    people = people_in_a_row(4)
    merged = people[1].copy()
    merged[:num_of_second] = people[2, :num_of_second]
    poses = np.stack([people[0], merged, people[3]])
    errors = analyze(annotation_file(people), results_from(poses))
    assert errors.people == {"matched": 2, "merged": 2}
    assert errors.results == {"matched": 2, "merged": 1}
    assert errors.keypoints == {"good": 34}
    assert errors.total_error == 2


def test_person_with_another_result_is_not_merged(analyze: Analyze) -> None:
    people = people_in_a_row(2)
    merged = people[0].copy()
    merged[:8] = people[1, :8]
    errors = analyze(annotation_file(people), results_from(np.stack([merged, people[0]])))
    assert errors.people == {"matched": 1, "merged": 1}


def test_poor_result_is_matched(analyze: Analyze) -> None:
    people, poses = people_in_a_row(2), people_in_a_row(2)
    poses[0, 5:] += [0, 60]
    errors = analyze(annotation_file(people), results_from(poses))
    assert errors.people == {"matched": 1, "poorly matched": 1}
    assert errors.results == {"matched": 2}
    assert errors.total_error == pytest.approx(12 / 17, abs=0.05)


def test_duplicate_is_not_matched_to_a_neighbor(analyze: Analyze) -> None:
    people = STANDING + np.array([[0, 0], [25, 0]])[:, None]
    poses = np.stack([people[0], people[0] + [3, 0], people[1]])
    errors = analyze(annotation_file(people), results_from(poses))
    assert errors.people == {"matched": 2}
    assert errors.results == {"matched": 2, "duplicate": 1}


def test_unlabeled_people_and_crowds_are_ignored(analyze: Analyze) -> None:
    people = people_in_a_row(4)
    content = annotation_file(people)
    content["annotations"][1]["iscrowd"] = 1
    content["annotations"][2]["keypoints"] = [0] * 51
    errors = analyze(content, results_from(people))
    assert errors.people == {"matched": 2}
    assert errors.results == {"matched": 2, "ignored": 2}
    assert errors.total_error == 0


def test_unlabeled_keypoints_are_ignored(analyze: Analyze) -> None:
    people, poses = people_in_a_row(1), people_in_a_row(1)
    content = annotation_file(people)
    content["annotations"][0]["keypoints"][2::3] = [0, 0, 0, 0, 0] + [1] * 12
    poses[0, :5] += 500
    errors = analyze(content, results_from(poses))
    assert errors.keypoints == {"good": 12}
    assert errors.total_error == 0


def test_each_person_and_result_is_counted_once(analyze: Analyze) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        people = STANDING + rng.uniform(0, 150, (rng.integers(0, 6), 1, 2))
        near = people.repeat(3, 0) + rng.normal(0, 25, (3 * len(people), 17, 2))
        errors = analyze(annotation_file(people), results_from(near))
        assert errors.people.total() == len(people)
        assert errors.results.total() == min(len(near), 20)
        matched = errors.results["matched"]
        assert matched == errors.people["matched"] + errors.people["poorly matched"]
        assert errors.keypoints.total() == 17 * matched
