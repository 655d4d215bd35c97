"""Checks whether the keypoints, box and area of each person and the size of the image agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray, DoubleArray
from higherhrnet.io.datasets.coco_entries import (
    Entry,
    annotation_name,
    enclosing_box,
    has_negligible_area,
    image_name,
    labeled_points,
)
from higherhrnet.io.findings import Finding
from higherhrnet.poses.skeleton import Skeleton

ImagePerson = tuple[Entry, Entry]
"""An image and one of its annotations."""

MAX_OUTSIDE_FRACTION = 0.02
"""Fraction of people with keypoints outside their box above which they are an error. Below it, they
may be mistakes of single annotators."""
_MARGIN = 0.1
"""By which part of its longer side a box is extended before keypoints are compared with it."""
_TOLERANCE = 2.0
"""Pixels by which a box may reach beyond its image."""
_MAX_AREA = 1.25
"""The highest ratio of a person's area and that of the box."""


@dataclass(frozen=True, eq=False)
class _People:
    """The geometry of P people with K keypoints."""

    pairs: Sequence[ImagePerson]
    keypoints: DoubleArray
    """(P, K, 3) x, y and visibility."""
    boxes: DoubleArray
    """(P, 4) x, y, width and height."""
    sizes: DoubleArray
    """(P, 2) width and height of the image; infinite if they are unknown."""

    @property
    def labeled(self) -> BoolArray:
        """Returns (P, K) whether a keypoint is labeled."""
        return self.keypoints[..., 2] > 0

    def inside(self, low: DoubleArray, high: DoubleArray) -> DoubleArray:
        """Returns (P,) the fraction of labeled keypoints between (P, 2) corners."""
        points = self.keypoints[..., :2]
        inside = (points >= low[:, None]) & (points <= high[:, None])
        counts = (inside.all(2) & self.labeled).sum(1)
        return np.asarray(counts / np.maximum(self.labeled.sum(1), 1))

    def box(self, person: int) -> str:
        """Describes the box of a person."""
        return "box " + ", ".join(f"{value:g}" for value in self.boxes[person])

    def box_and_size(self, person: int) -> str:
        """Describes the box of a person and the size of the image."""
        width, height = self.sizes[person]
        return f"{self.box(person)} in {width:g}×{height:g} pixels"

    def finding(
        self,
        singular: str,
        plural: str,
        selected: NDArray[Any] | np.bool,
        describe: Callable[[int], str],
        is_error: bool = True,
    ) -> Finding:
        """Makes a finding of the selected people; `describe` states what is wrong with each."""
        indices = np.flatnonzero(selected).tolist()
        cases = [f"{person_name(self.pairs[i])}: {describe(i)}" for i in indices]
        return Finding(singular, plural, cases, is_error, len(self.pairs))


def check_geometry(people: Sequence[ImagePerson], skeleton: Skeleton) -> list[Finding]:
    """Finds people whose keypoints, box, area and image contradict each other.

    Crowd regions and people without labeled keypoints are not checked.

    Args:
        people: the annotations, each with its image.
        skeleton: the skeleton of the people.
    """
    pairs = [p for p in people if p[1]["num_keypoints"] and not p[1]["iscrowd"]]
    count, infinity = len(pairs), float("inf")
    keypoints = np.array([person["keypoints"] for _, person in pairs], np.float64)
    sizes = [(image.get("width", infinity), image.get("height", infinity)) for image, _ in pairs]
    checked = _People(
        pairs,
        keypoints.reshape(count, len(skeleton), 3),
        np.array([person["bbox"] for _, person in pairs], np.float64).reshape(count, 4),
        np.array(sizes, np.float64).reshape(count, 2),
    )
    boxes, is_wrong_box = _check_boxes(checked)
    return [*_check_keypoints(checked, skeleton), *boxes, *_check_areas(checked, is_wrong_box)]


def person_name(pair: ImagePerson) -> str:
    """Returns the names of an image and of an annotation in it, for messages."""
    return f"{image_name(pair[0])}, {annotation_name(pair[1])}"


def _check_keypoints(people: _People, skeleton: Skeleton) -> list[Finding]:
    """Finds unusual visibilities, and positions that are not those of a person."""
    points, third = people.keypoints[..., :2], people.keypoints[..., 2]
    unknown = ~np.isin(third, (0, 1, 2))
    at_origin = people.labeled & (points == 0).all(2)

    def first(selected: BoolArray, person: int) -> tuple[str, DoubleArray]:
        """Returns the name and the values of the first selected keypoint of a person."""
        keypoint = int(selected[person].argmax())
        return skeleton.names[keypoint], people.keypoints[person, keypoint]

    return [
        people.finding(
            "person has keypoints with a visibility other than 0, 1 and 2",
            "people have keypoints with a visibility other than 0, 1 and 2",
            unknown.any(1),
            lambda p: "{} has {[2]:g}".format(*first(unknown, p)),
        ),
        people.finding(
            "person has labeled keypoints at (0, 0), which may be missing ones",
            "people have labeled keypoints at (0, 0), which may be missing ones",
            at_origin.any(1),
            lambda p: "{} has visibility {[2]:g}".format(*first(at_origin, p)),
        ),
        people.finding(
            "person has keypoints from 0 to 1 instead of in pixels",
            "people have keypoints from 0 to 1 instead of in pixels",
            _normalized_keypoints(people),
            lambda p: "{0} at {1[0]:g}, {1[1]:g}".format(*first(people.labeled, p)),
        ),
    ]


def _normalized_keypoints(people: _People) -> BoolArray:
    """Returns (P,) whether all labeled keypoints are within the first pixel, but not all at 0."""
    points = np.where(people.labeled[..., None], people.keypoints[..., :2], 0)
    within = ((points >= 0) & (points <= 1)).all((1, 2))
    return np.asarray(within & (points > 0).any((1, 2)) & (people.sizes > 2).all(1))


def _check_boxes(people: _People) -> tuple[list[Finding], BoolArray]:
    """Finds boxes in another form than x, y, width and height in pixels, or at a wrong place.

    Returns:
        The findings, and (P,) whether a box has another form.
    """
    corner, extent = people.boxes[:, :2], people.boxes[:, 2:]
    empty = (extent <= 0).any(1)
    normalized = ~empty & (corner >= 0).all(1) & (people.boxes <= 1).all(1)
    normalized &= (people.sizes > 2).all(1)
    corners = ~empty & ~normalized & _are_corners(people)
    is_wrong = empty | normalized | corners
    findings = [
        people.finding(
            "box has no positive width and height",
            "boxes have no positive width and height",
            empty,
            people.box,
        ),
        people.finding(
            "box is from 0 to 1 instead of in pixels",
            "boxes are from 0 to 1 instead of in pixels",
            normalized,
            people.box,
        ),
        people.finding(
            "box seems to be two corners instead of x, y, width and height",
            "boxes seem to be two corners instead of x, y, width and height",
            corners,
            people.box_and_size,
        ),
    ]
    return [*findings, *_check_places(people, is_wrong)], is_wrong


def _check_places(people: _People, is_wrong_box: BoolArray) -> list[Finding]:
    """Finds boxes that are not where the image or the keypoints are."""
    corner, extent, sizes = people.boxes[:, :2], people.boxes[:, 2:], people.sizes
    end = corner + extent
    beyond = ~is_wrong_box & ((corner < -_TOLERANCE) | (end > sizes + _TOLERANCE)).any(1)
    for person in np.flatnonzero(beyond):  # except for boxes that were made from the keypoints
        annotation = people.pairs[int(person)][1]
        beyond[person] = annotation["bbox"] != enclosing_box(labeled_points(annotation))
    apart = beyond & ((end <= 0) | (corner >= sizes)).any(1)
    margin = _MARGIN * extent.max(1, initial=0)[:, None] + 1
    outside = ~is_wrong_box & ~_normalized_keypoints(people) & ~apart
    outside &= people.inside(corner - margin, end + margin) < 0.5
    many = outside.sum() > MAX_OUTSIDE_FRACTION * len(people.pairs)
    return [
        people.finding(
            "box is outside its image", "boxes are outside their images", apart, people.box_and_size
        ),
        people.finding(
            "box reaches beyond its image",
            "boxes reach beyond their images",
            beyond & ~apart,
            people.box_and_size,
            is_error=False,
        ),
        people.finding(
            "person has most keypoints outside the box",
            "people have most keypoints outside the box",
            outside,
            people.box,
            is_error=bool(many),
        ),
    ]


def _are_corners(people: _People) -> BoolArray:
    """Returns (P,) whether boxes fit the image and the keypoints only as two corners."""
    low, high = people.boxes[:, :2], people.boxes[:, 2:]
    exceeds = (low + high > people.sizes + _TOLERANCE).any(1)
    fits = (high > low).all(1) & (low >= -_TOLERANCE).all(1)
    fits &= (high <= people.sizes + _TOLERANCE).all(1)
    margin = _MARGIN * (high - low).max(1, initial=0)[:, None] + 1
    return np.asarray(exceeds & fits & (people.inside(low - margin, high + margin) > 0.5))


def _check_areas(people: _People, is_wrong_box: BoolArray) -> list[Finding]:
    """Finds areas that are about 0, or larger than the box."""
    areas = np.array([person["area"] for _, person in people.pairs], np.float64)
    box_areas = people.boxes[:, 2] * people.boxes[:, 3]
    negligible = np.array([has_negligible_area(person) for _, person in people.pairs], np.bool_)
    return [
        people.finding(
            "person has an area of about 0, so that hardly any result can match",
            "people have an area of about 0, so that hardly any result can match",
            negligible,
            lambda p: f"area {areas[p]:g}",
        ),
        people.finding(
            "person has an area that is larger than the box",
            "people have an area that is larger than the box",
            ~is_wrong_box & (areas > _MAX_AREA * box_areas),
            lambda p: f"area {areas[p]:g}, box {box_areas[p]:g}",
            is_error=False,  # the box around the keypoints of a thin object may be small
        ),
    ]
