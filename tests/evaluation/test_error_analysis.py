"""What is done to the truth is what is counted."""

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
from higherhrnet.io.coco import load_annotations
from higherhrnet.skeleton import COCO
from tests.evaluation.cases import File, Results

Poses = NDArray[np.float64]  # (P, 17, 2)

FLIP = list(COCO.flip_index)
STANDING = np.array(
    [(50, 10), (55, 5), (45, 5), (60, 8), (40, 8), (70, 30), (30, 30), (80, 60), (20, 60), (85, 90),
     (15, 90), (62, 90), (38, 90), (64, 130), (36, 130), (65, 170), (35, 170)], float,
)  # fmt: skip
AREA = 6000.0


def crowd_of(people: int) -> Poses:
    """People side by side, far enough from each other that nobody is near another's keypoints."""
    return STANDING + np.stack([200.0 * np.arange(people), np.zeros(people)], 1)[:, None]


def file_of(people: Poses, visible: int = 2) -> File:
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


def results_of(poses: Poses) -> Results:
    """The first has the best score."""
    return [
        {
            "image_id": 1,
            "category_id": 1,
            "keypoints": np.column_stack([pose, np.ones(17)]).ravel().tolist(),
            "score": 0.9 - 0.01 * place,
        }
        for place, pose in enumerate(poses)
    ]


Find = Callable[[File, Results], ErrorCounts]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    def find(content: File, results: Results) -> ErrorCounts:
        (tmp_path / "truth.json").write_text(json.dumps(content))
        annotations = load_annotations(tmp_path / "truth.json")
        (mistakes,) = analyze_errors(pair_results(annotations, results))
        assert set(mistakes.people) <= set(PEOPLE)
        assert set(mistakes.results) <= set(RESULTS)
        assert set(mistakes.keypoints) <= set(KEYPOINTS)
        return mistakes

    return find


def offset(keypoint: int, similarity: float) -> float:
    """Pixels by which a keypoint is off at a similarity: the formula's inverse."""
    return float(np.sqrt(-np.log(similarity) * 8 * AREA) * COCO.sigmas[keypoint])


def test_the_truth_has_no_mistakes(find: Find) -> None:
    people = crowd_of(4)
    mistakes = find(file_of(people), results_of(people))
    assert mistakes.people == {"found": 4}
    assert mistakes.results == {"a person's own": 4}
    assert mistakes.keypoints == {"good": 68}
    assert mistakes.lost == 0


def test_people_left_out_are_missed(find: Find) -> None:
    people = crowd_of(5)
    mistakes = find(file_of(people), results_of(people[[0, 2]]))
    assert mistakes.people == {"found": 2, "missed": 3}
    assert mistakes.keypoints == {"good": 34}
    assert mistakes.lost == 3


def test_nobody_found_and_nobody_there(find: Find) -> None:
    people = crowd_of(3)
    assert find(file_of(people), []).people == {"missed": 3}
    mistakes = find(file_of(people[:0]), results_of(people))
    assert (mistakes.people, mistakes.results) == ({}, {"background": 3})
    assert mistakes.lost == pytest.approx(0.9 + 0.89 + 0.88)


def test_further_results_on_a_person_are_duplicates(find: Find) -> None:
    people = crowd_of(3)
    again = people[[0, 1, 2, 0, 0, 1]] + np.array([0, 0, 0, 1, 2, 3])[:, None, None]
    mistakes = find(file_of(people), results_of(again))
    assert mistakes.people == {"found": 3}
    assert mistakes.results == {"a person's own": 3, "duplicate": 3}
    assert mistakes.keypoints == {"good": 51}


def test_results_on_nobody_are_background(find: Find) -> None:
    people = crowd_of(2)
    mistakes = find(
        file_of(people), results_of(np.concatenate([people, people + np.array([0, 900])]))
    )
    assert mistakes.results == {"a person's own": 2, "background": 2}
    assert mistakes.people == {"found": 2}


def test_results_beyond_twenty_do_not_count(find: Find) -> None:
    people = crowd_of(1)
    mistakes = find(file_of(people), results_of(people.repeat(30, 0)))
    assert mistakes.results == {"a person's own": 1, "duplicate": 19}


@pytest.mark.parametrize("pairs", [[(9, 10)], [(9, 10), (15, 16)], [(5, 6), (11, 12), (13, 14)]])
def test_left_for_right(pairs: list[tuple[int, int]], find: Find) -> None:
    people, found = crowd_of(3), crowd_of(3)
    for left, right in pairs:
        found[1, [left, right]] = found[1, [right, left]]
    mistakes = find(file_of(people), results_of(found))
    assert mistakes.people == {"found": 3}
    wrong = 2 * len(pairs)
    assert mistakes.keypoints == {"good": 51 - wrong, "left for right": wrong}


def test_a_person_seen_from_behind(find: Find) -> None:
    """All of left and right: too bad for any OKS that counts, but plainly that person."""
    people = crowd_of(2)
    found = people.copy()
    found[0] = found[0, FLIP]
    mistakes = find(file_of(people), results_of(found))
    assert mistakes.people == {"found": 1, "found badly": 1}
    assert mistakes.results == {"a person's own": 2}
    # The nose is right whichever way.
    assert mistakes.keypoints == {"good": 18, "left for right": 16}


def test_keypoints_of_another_person(find: Find) -> None:
    people, found = crowd_of(3), crowd_of(3)
    found[0, [9, 10]] = people[1, [9, 10]]  # both wrists of the neighbour
    found[2, 15] = people[1, 16]  # and a foot: left here, right there
    mistakes = find(file_of(people), results_of(found))
    assert mistakes.people == {"found": 3}
    assert mistakes.results == {"a person's own": 3}
    assert mistakes.keypoints == {"good": 48, "another's": 3}


@pytest.mark.parametrize(
    ("similarity", "kind"), [(0.9, "good"), (0.84, "jitter"), (0.51, "jitter"), (0.49, "astray")]
)
def test_keypoints_off_by_so_much(similarity: float, kind: str, find: Find) -> None:
    people, found = crowd_of(2), crowd_of(2)
    for keypoint in (9, 13):
        found[0, keypoint, 1] += offset(keypoint, similarity)
    mistakes = find(file_of(people), results_of(found))
    assert mistakes.keypoints == Counter({"good": 32}) + Counter({kind: 2})


def test_keypoints_that_were_not_found_are_astray(find: Find) -> None:
    people = crowd_of(2) + 50
    found = people.copy()
    found[1, :3] = 0
    mistakes = find(file_of(people), results_of(found))
    assert mistakes.keypoints == {"good": 31, "astray": 3}


@pytest.mark.parametrize("of_the_second", [5, 8, 12])
def test_two_people_in_one_result(of_the_second: int, find: Find) -> None:
    people = crowd_of(4)
    both = people[1].copy()
    both[:of_the_second] = people[2, :of_the_second]
    found = np.stack([people[0], both, people[3]])
    mistakes = find(file_of(people), results_of(found))
    assert mistakes.people == {"found": 2, "merged": 2}
    assert mistakes.results == {"a person's own": 2, "merged": 1}
    assert mistakes.keypoints == {"good": 34}
    assert mistakes.lost == 2


def test_merged_people_who_have_a_result_of_their_own_too(find: Find) -> None:
    people = crowd_of(2)
    both = people[0].copy()
    both[:8] = people[1, :8]
    mistakes = find(file_of(people), results_of(np.stack([both, people[0]])))
    assert mistakes.people == {"found": 1, "merged": 1}


def test_a_poor_result_is_still_the_persons_own(find: Find) -> None:
    people, found = crowd_of(2), crowd_of(2)
    found[0, 5:] += [0, 60]
    mistakes = find(file_of(people), results_of(found))
    assert mistakes.people == {"found": 1, "found badly": 1}
    assert mistakes.results == {"a person's own": 2}
    assert mistakes.lost == pytest.approx(12 / 17, abs=0.05)


def test_a_poor_duplicate_takes_nobody_from_a_neighbour(find: Find) -> None:
    people = STANDING + np.array([[0, 0], [25, 0]])[:, None]
    found = np.stack([people[0], people[0] + [3, 0], people[1]])
    mistakes = find(file_of(people), results_of(found))
    assert mistakes.people == {"found": 2}
    assert mistakes.results == {"a person's own": 2, "duplicate": 1}


def test_unlabelled_people_and_crowds_are_not_judged(find: Find) -> None:
    people = crowd_of(4)
    content = file_of(people)
    content["annotations"][1]["iscrowd"] = 1
    content["annotations"][2]["keypoints"] = [0] * 51
    mistakes = find(content, results_of(people))
    assert mistakes.people == {"found": 2}
    assert mistakes.results == {"a person's own": 2, "not judged": 2}
    assert mistakes.lost == 0


def test_unlabelled_keypoints_do_not_count(find: Find) -> None:
    people, found = crowd_of(1), crowd_of(1)
    content = file_of(people)
    content["annotations"][0]["keypoints"][2::3] = [0, 0, 0, 0, 0] + [1] * 12
    found[0, :5] += 500
    mistakes = find(content, results_of(found))
    assert mistakes.keypoints == {"good": 12}
    assert mistakes.lost == 0


def test_everything_is_counted_once(find: Find) -> None:
    """However results lie about, each person and each of twenty results is of one kind."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        people = STANDING + rng.uniform(0, 150, (rng.integers(0, 6), 1, 2))
        near = people.repeat(3, 0) + rng.normal(0, 25, (3 * len(people), 17, 2))
        mistakes = find(file_of(people), results_of(near))
        assert mistakes.people.total() == len(people)
        assert mistakes.results.total() == min(len(near), 20)
        own = mistakes.results["a person's own"]
        assert own == mistakes.people["found"] + mistakes.people["found badly"]
        assert mistakes.keypoints.total() == 17 * own
