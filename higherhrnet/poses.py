"""Poses: the people found in one photograph, in the photograph's own pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray
from higherhrnet.errors import InputError
from higherhrnet.skeleton import COCO, Skeleton


@dataclass(frozen=True, eq=False)
class Poses:
    """P people with K keypoints each; slicing, masking and filtering give Poses again.

    Raises:
        InputError: the arrays' shapes do not belong together or are not the skeleton's, they hold
            NaN or infinity, or tracks are no whole numbers.
    """

    keypoints: FloatArray
    """(P, K, 2) x and y in pixels; (0, 0) for a keypoint that was not found."""
    keypoint_scores: FloatArray
    """(P, K) the heatmap's value, about 0 to 1; 0 for a keypoint that was not found."""
    scores: FloatArray
    """(P,) one score a person, about 0 to 1; the people keep the order of their finding."""
    skeleton: Skeleton = COCO
    track_ids: NDArray[np.int64] | None = None
    """(P,) each person's number over time, where a `Tracker` gave one; else None."""

    def __post_init__(self) -> None:
        for field in ("keypoints", "keypoint_scores", "scores"):
            object.__setattr__(self, field, np.asarray(getattr(self, field), np.float32))
        people, count = self.scores.size, len(self.skeleton)
        wanted = {
            "keypoints": (people, count, 2),
            "keypoint_scores": (people, count),
            "scores": (people,),
        }
        for field, shape in wanted.items():
            if (given := getattr(self, field).shape) != shape:
                raise InputError(f"{field} must have the shape {shape}, not {given}")
            if not np.isfinite(getattr(self, field)).all():
                raise InputError(f"{field} must be numbers; it holds NaN or infinity")
        if self.track_ids is None:
            return
        try:
            object.__setattr__(self, "track_ids", np.asarray(self.track_ids, np.int64))
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"track_ids must be whole numbers: {error}") from error
        if self.track_ids.shape != (people,):
            raise InputError(
                f"track_ids must have the shape {(people,)}, not {self.track_ids.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice | NDArray[Any] | list[int]) -> Poses:
        """The chosen people: an index, a slice, a list of indices or a boolean mask."""
        chosen = np.arange(len(self))[index]
        chosen = np.atleast_1d(chosen)
        return replace(
            self,
            keypoints=self.keypoints[chosen],
            keypoint_scores=self.keypoint_scores[chosen],
            scores=self.scores[chosen],
            track_ids=None if self.track_ids is None else self.track_ids[chosen],
        )

    def __iter__(self) -> Iterator[Poses]:
        """The people one by one."""
        return (self[person] for person in range(len(self)))

    @property
    def found(self) -> NDArray[np.bool_]:
        """(P, K) which keypoints were found."""
        return self.keypoint_scores > 0

    @property
    def boxes(self) -> FloatArray:
        """(P, 4) x, y, width and height around each person's found keypoints; zeros if none."""
        found = self.found[..., None]
        low = np.where(found, self.keypoints, np.inf).min(1, initial=np.inf)
        high = np.where(found, self.keypoints, -np.inf).max(1, initial=-np.inf)
        boxes = np.concatenate([low, high - low], 1)
        return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32)

    def with_skeleton(self, skeleton: Skeleton) -> Poses:
        """The same people with the keypoints of another skeleton, by name.

        Raises:
            InputError: it has keypoints that these people do not.
        """
        if self.skeleton.names == skeleton.names:
            return replace(self, skeleton=skeleton)
        if missing := set(skeleton.names) - set(self.skeleton.names):
            raise InputError(f"{self.skeleton.name} has no {', '.join(sorted(missing))}")
        index = [self.skeleton.names.index(name) for name in skeleton.names]
        keypoints, scores = self.keypoints[:, index], self.keypoint_scores[:, index]
        return replace(self, keypoints=keypoints, keypoint_scores=scores, skeleton=skeleton)

    def above(self, score: float) -> Poses:
        """The people whose score is at least `score`."""
        return self[self.scores >= score]

    def to_coco(
        self, image_id: int | str, category_id: int | str = 1, **facts: float | str
    ) -> list[dict[str, Any]]:
        """One COCO keypoint result a person; `facts` (a file name, a frame) go into each.

        People with tracks have a `track_id`, too.
        """
        places = np.round(self.keypoints.astype(np.float64), 3)  # to the thousandth of a pixel
        values = np.round(self.keypoint_scores.astype(np.float64), 7)[..., None]
        triples = np.concatenate([places, values], 2).reshape(len(self), 3 * len(self.skeleton))
        tracks: list[dict[str, int]] = [{}] * len(self)
        if self.track_ids is not None:
            tracks = [{"track_id": number} for number in self.track_ids.tolist()]
        return [
            {
                "image_id": image_id,
                **facts,
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
        """The people of COCO keypoint results or annotations, all of one image.

        Annotations have no score: it is then 1, and keypoint scores are the visibility. Tracks are
        there where every person has a `track_id`.
        """
        listed = list(results)
        if any(len(result.get("keypoints", ())) != 3 * len(skeleton) for result in listed):
            raise InputError(f"keypoints must hold {len(skeleton)} triples x, y, score")
        triples = np.array([result["keypoints"] for result in listed], np.float32)
        triples = triples.reshape(len(listed), len(skeleton), 3)
        scores = np.array([result.get("score", 1.0) for result in listed], np.float32)
        numbers: Any = [result.get("track_id") for result in listed]
        tracks = None if not listed or None in numbers else numbers
        return cls(triples[..., :2], triples[..., 2], scores, skeleton, tracks)
