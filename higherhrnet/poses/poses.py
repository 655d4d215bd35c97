"""Poses: the keypoints of the people in one image, in pixels of the image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray, FloatArray
from higherhrnet.errors import InputError, require
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO

if TYPE_CHECKING:
    import supervision as sv

_DISPLAY_SIZE, _DISPLAY_MARGIN = 480, 24
"""Pixels of the longer side of the drawing in a notebook, and of its margin."""


@dataclass(frozen=True, eq=False)
class Poses:
    """The poses of P people with K keypoints each.

    `poses[index]` selects people as from an array and returns Poses; iterating yields Poses of one
    person each. Notebooks display Poses as a drawing.

    Args:
        keypoints: (P, K, 2) x and y in pixels of the image; (0, 0) for missing keypoints.
        keypoint_scores: (P, K) heatmap values, about 0 to 1; 0 for missing keypoints.
        scores: (P,) score of each person, about 0 to 1: the mean heatmap value of all keypoints
            before refinement, in which missing ones count as 0; of networks that predict offsets,
            times the value of the person's center or its square root. A rescoring network
            multiplies the score by its prediction, or its prediction is the score. People are not
            sorted by it.
        skeleton: the names and limbs of the K keypoints.
        track_ids: (P,) the track ID of each person; None if the poses do not come from a `Tracker`.

    Raises:
        InputError: the shapes of the arrays do not match each other or the skeleton, a value is NaN
            or infinite, or a track ID is not an integer.
    """

    keypoints: FloatArray
    """(P, K, 2) x and y in pixels of the image; (0, 0) for missing keypoints."""
    keypoint_scores: FloatArray
    """(P, K) heatmap values, about 0 to 1; 0 for missing keypoints."""
    scores: FloatArray
    """(P,) score of each person, about 0 to 1: the mean heatmap value of all keypoints before
    refinement, in which missing ones count as 0; of networks that predict offsets, times the value
    of the person's center or its square root. A rescoring network multiplies
    the score by its prediction, or its prediction is the score. People are not sorted by it."""
    skeleton: Skeleton = COCO
    track_ids: NDArray[np.int64] | None = None
    """(P,) the track ID of each person; None if the poses do not come from a `Tracker`."""

    def __post_init__(self) -> None:
        people, count = np.size(self.scores), len(self.skeleton)
        for name, shape in (
            ("keypoints", (people, count, 2)),
            ("keypoint_scores", (people, count)),
            ("scores", (people,)),
        ):
            array = np.asarray(getattr(self, name), np.float32)
            require(array.shape == shape, f"{name} must have the shape {shape}, not {array.shape}")
            require(bool(np.isfinite(array).all()), f"{name} must not contain NaN or infinity")
            object.__setattr__(self, name, array)
        if self.track_ids is None:
            return
        try:
            track_ids = np.asarray(self.track_ids, np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"track_ids must be integers: {error}") from error
        require(
            track_ids.shape == (people,),
            f"track_ids must have the shape {(people,)}, not {track_ids.shape}",
        )
        object.__setattr__(self, "track_ids", track_ids)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        scores = np.array2string(self.scores, precision=2, threshold=8, max_line_width=1000)
        return (
            f"Poses(people={len(self)}, keypoints={len(self.skeleton)}, "
            f"skeleton={self.skeleton.name!r}, scores={scores})"
        )

    def __getitem__(self, index: int | slice | NDArray[Any] | list[int]) -> Poses:
        """Selects people by an index, a slice, a list of indices or a boolean mask."""
        selected = np.atleast_1d(np.arange(len(self))[index])
        return replace(
            self,
            keypoints=self.keypoints[selected],
            keypoint_scores=self.keypoint_scores[selected],
            scores=self.scores[selected],
            track_ids=None if self.track_ids is None else self.track_ids[selected],
        )

    def __iter__(self) -> Iterator[Poses]:
        """Yields each person."""
        return (self[person] for person in range(len(self)))

    @property
    def found(self) -> BoolArray:
        """(P, K) whether each keypoint was found."""
        return self.keypoint_scores > 0

    @property
    def boxes(self) -> FloatArray:
        """(P, 4) x, y, width and height of the box around each person's found keypoints.

        The box of a person without any is zero.
        """
        found = self.found[..., None]
        low = np.where(found, self.keypoints, np.inf).min(1, initial=np.inf)
        high = np.where(found, self.keypoints, -np.inf).max(1, initial=-np.inf)
        boxes = np.concatenate([low, high - low], 1)
        return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32)

    def with_skeleton(self, skeleton: Skeleton) -> Poses:
        """Returns the same people with the keypoints of another skeleton, matched by name.

        Raises:
            InputError: the other skeleton has keypoints that this one lacks.
        """
        if self.skeleton.names == skeleton.names:
            return replace(self, skeleton=skeleton)
        if missing := set(skeleton.names) - set(self.skeleton.names):
            raise InputError(
                f"the skeleton {self.skeleton.name} has no keypoint {', '.join(sorted(missing))}"
            )
        index = [self.skeleton.names.index(name) for name in skeleton.names]
        keypoints, scores = self.keypoints[:, index], self.keypoint_scores[:, index]
        return replace(self, keypoints=keypoints, keypoint_scores=scores, skeleton=skeleton)

    def above(self, min_score: float) -> Poses:
        """Returns the people whose score is at least `min_score`."""
        return self[self.scores >= min_score]

    def to_coco(
        self, image_id: int | str, category_id: int | str = 1, **extra: float | str
    ) -> list[dict[str, Any]]:
        """Converts the people to COCO keypoint results.

        Args:
            image_id: the ID of the image in the dataset.
            category_id: the ID of the category.
            extra: further entries of each result, for example `frame=5`.

        Returns:
            One result per person, with a `track_id` if the person has one.
        """
        points = np.round(self.keypoints.astype(np.float64), 3)
        values = np.round(self.keypoint_scores.astype(np.float64), 7)[..., None]
        triples = np.concatenate([points, values], 2).reshape(len(self), 3 * len(self.skeleton))
        tracks: list[dict[str, int]] = [{}] * len(self)
        if self.track_ids is not None:
            tracks = [{"track_id": number} for number in self.track_ids.tolist()]
        return [
            {
                "image_id": image_id,
                **extra,
                **track,
                "category_id": category_id,
                "keypoints": person.tolist(),
                "score": float(score),
                "bbox": [round(value, 2) for value in box.tolist()],
            }
            for track, person, score, box in zip(
                tracks, triples, self.scores, self.boxes, strict=True
            )
        ]

    @classmethod
    def from_coco(cls, results: Iterable[Mapping[str, Any]], skeleton: Skeleton = COCO) -> Poses:
        """Converts COCO keypoint results or annotations of one image to Poses.

        Annotations have no scores: each person's score is then 1, and the keypoint scores are the
        visibilities. The poses have track IDs if every result has a `track_id`.

        Raises:
            InputError: a result does not have three numbers for each keypoint of the skeleton.
        """
        people = list(results)
        if any(len(person.get("keypoints", ())) != 3 * len(skeleton) for person in people):
            raise InputError(
                f"keypoints must be x, y and score for each of the {len(skeleton)} keypoints"
            )
        triples = np.array([person["keypoints"] for person in people], np.float32)
        triples = triples.reshape(len(people), len(skeleton), 3)
        scores = np.array([person.get("score", 1.0) for person in people], np.float32)
        ids: Any = [person.get("track_id") for person in people]
        track_ids = None if not people or None in ids else ids
        return cls(triples[..., :2], triples[..., 2], scores, skeleton, track_ids)

    def to_supervision(self) -> sv.KeyPoints:
        """Converts the people to `supervision.KeyPoints`, which Supervision's annotators draw.

        All have the class 0, `person`. Keypoints that were not found are not visible. Track IDs are
        in `data["tracker_id"]`.

        Raises:
            InputError: Supervision is not installed.
        """
        from higherhrnet.poses.supervision import to_key_points

        return to_key_points(self)

    @classmethod
    def from_supervision(cls, key_points: sv.KeyPoints, skeleton: Skeleton = COCO) -> Poses:
        """Converts `supervision.KeyPoints` of any model to Poses.

        Keypoints at (0, 0), which are missing ones in Supervision, and those that are not visible
        have the score 0. Without confidences, the others have the score 1. Without confidences of
        people, a person has the mean score of the keypoints.

        Args:
            key_points: the people.
            skeleton: names the keypoints.

        Raises:
            InputError: the number of keypoints is not that of the skeleton.
        """
        from higherhrnet.poses.supervision import from_key_points

        return from_key_points(key_points, skeleton)

    def _repr_png_(self) -> bytes | None:
        """Draws the poses on a plain background for notebooks; None if there are no keypoints."""
        if not self.found.any():
            return None
        # Imported here because drawing is a higher layer, an exception to the import rules.
        from higherhrnet.io.images import encode_image
        from higherhrnet.visualization.poses import draw

        corner = self.keypoints[self.found].min(0)
        extent = self.keypoints[self.found].max(0) - corner
        factor = _DISPLAY_SIZE / max(extent.max(), 1)
        width, height = (extent * factor).astype(int) + 2 * _DISPLAY_MARGIN
        keypoints = (self.keypoints - corner) * factor + _DISPLAY_MARGIN
        canvas = np.full((height, width, 3), 64, np.uint8)
        return encode_image(draw(canvas, replace(self, keypoints=keypoints)), ".png")
