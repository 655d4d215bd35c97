"""Who is who from frame to frame: by how alike poses are, where motion leads them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import DoubleArray
from higherhrnet.decoding.assignment import assign
from higherhrnet.errors import require
from higherhrnet.poses import Poses
from higherhrnet.tracking.one_euro import one_euro

Tracks = NDArray[np.void]
"""(N,) rows as `_row` has them."""

_STEP = 1e-3  # seconds; the least from one frame to the next, whatever the file says
_STEADY = 0.3  # seconds over which a person's velocity is averaged
_SHRINK = 1.0  # seconds in which a size falls to a third while only a part of the body is found
_LEAST_SIZE = 16.0  # pixels


@dataclass(frozen=True)
class TrackConfig:
    """How people are followed through a video, and how steady their keypoints are held."""

    min_similarity: float = 0.1
    """How alike, at least, a person and where a track leads must be (Object Keypoint Similarity,
    0 to 1)."""
    max_lost_seconds: float = 1.0
    """Seconds that who is not found keeps the number; after that it is somebody else."""
    min_hits: int = 3
    """Frames in which somebody must be found to be waited for at all."""
    drift: float = 0.5
    """How far people stray from where their motion leads, in their own sizes a second."""
    smooth: bool = True
    """Hold the keypoints steady with a One-Euro filter."""
    min_cutoff: float = 1.0
    """Hz; of the filter where nothing moves. Lower is steadier."""
    beta: float = 0.5
    """Hz by which the cutoff rises for each of the person's own sizes that a keypoint moves in a
    second. Higher follows fast motion sooner."""
    derivative_cutoff: float = 1.0
    """Hz; of the filter of the speed."""

    def __post_init__(self) -> None:
        require(0 < self.min_similarity <= 1, "min_similarity must be above 0, and at most 1")
        require(self.min_hits >= 1, f"confirm must be at least 1, not {self.min_hits}")
        for name in ("max_lost_seconds", "drift", "beta"):
            require(0 <= getattr(self, name) < np.inf, f"{name} must be a number from 0 up")
        for name in ("min_cutoff", "derivative_cutoff"):
            require(0 < getattr(self, name) < np.inf, f"{name} must be a number above 0")


class Tracker:
    """Follows people through one video: call it with the poses of each frame in turn.

    Frames may be any time apart. What it keeps is about a kilobyte a person.
    """

    def __init__(self, config: TrackConfig | None = None) -> None:
        self.config = config or TrackConfig()
        self._told = 0.0  # seconds of the last frame
        self._step = 0.0  # from the frame before to it
        self._time = 0.0  # what the steps add up to
        self._given = 0  # numbers
        self._tracks: Tracks | None = None

    def __call__(self, poses: Poses, seconds: float) -> Poses:
        """The same people in the same order, with `tracks`; numbers count from 1.

        A keypoint that was not found stays so. Who was out of sight for less than `max_lost_seconds` has
        the number from before.

        Args:
            poses: of the next frame, in pixels.
            seconds: when it is shown; what is not later than the frame before counts as just after.

        Raises:
            InputError: `seconds` is no number, or the people have not as many keypoints as before.
        """
        require(np.isfinite(seconds), f"seconds must be a number, not {seconds}")
        row = _row(len(poses.skeleton))
        if self._tracks is None:
            self._tracks, self._told = np.zeros(0, row), seconds
        require(self._tracks.dtype == row, "a Tracker needs the same keypoints in every frame")
        last, reach = self._time, max(self.config.max_lost_seconds, self._step)
        self._step = max(seconds - self._told, _STEP)
        self._told, self._time = seconds, last + self._step
        tracks = self._tracks[self._kept(self._tracks, last)]
        # Who was there a moment ago goes first, who is known before who was there only once.
        rank = np.where(tracks["seen"] < last, 2, tracks["hits"] < self.config.min_hits)
        owner = _match(self._similarity(tracks, poses, reach), rank, self.config.min_similarity)
        strangers = np.flatnonzero(owner < 0)
        owner[strangers] = len(tracks) + np.arange(len(strangers))
        tracks = np.concatenate([tracks, self._open(len(strangers), tracks.dtype)])
        keypoints = self._update(tracks, owner, poses)
        self._tracks = tracks
        return replace(poses, keypoints=keypoints, track_ids=tracks["number"][owner])

    def _similarity(self, tracks: Tracks, poses: Poses, reach: float) -> DoubleArray:
        """(N, P) Object Keypoint Similarity of where N tracks lead and P people are.

        COCO's formula, but that the spread of each keypoint grows with the time a track was lost,
        up to `reach` seconds. Of who is smaller than the track, only a part may have been found.
        """
        wait = np.minimum(self._time - tracks["seen"], reach)
        offset = poses.keypoints - _expected(tracks, wait)[:, None]
        sigmas = np.asarray(poses.skeleton.sigmas)
        spread = (2 * sigmas) ** 2 + (self.config.drift * wait[:, None]) ** 2  # (N, K)
        own = np.square(tracks["size"])[:, None]
        area = (own + np.maximum(own, np.square(_sizes(poses)))) / 2  # (N, P)
        alike = np.exp(-np.square(offset).sum(-1) / (2 * spread[:, None] * area[..., None]))
        both = tracks["known"][:, None] & poses.found
        return np.asarray((alike * both).sum(-1) / np.maximum(both.sum(-1), 1))

    def _open(self, count: int, kind: np.dtype[np.void]) -> Tracks:
        """Tracks of people never seen before."""
        opened = np.zeros(count, kind)
        opened["number"] = self._given + 1 + np.arange(count)
        opened["seen"] = self._time
        self._given += count
        return opened

    def _update(self, tracks: Tracks, owner: NDArray[np.intp], poses: Poses) -> NDArray[np.float32]:
        """Moves each person's track to where the person is; (P, K, 2) the steadied keypoints."""
        own = tracks[owner]
        found, places = poses.found, poses.keypoints.astype(np.float64)
        shift = _shift(places - own["place"], found & own["known"])
        wait = np.maximum(self._time - own["seen"], _STEP)
        weight = 1 - np.exp(-wait / _STEADY)
        own["velocity"] += weight[:, None] * (shift / wait[:, None] - own["velocity"])
        own["size"] = np.maximum(own["size"] * np.exp(-wait / _SHRINK), _sizes(poses))
        self._steady(own, places, found)
        own["place"] = np.where(found[..., None], places, own["place"] + shift[:, None])
        own["known"] |= found
        own["hits"] += 1
        own["seen"] = self._time
        tracks[owner] = own
        shown = own["steady"] if self.config.smooth else places
        return np.where(found[..., None], shown, 0).astype(np.float32)

    def _steady(self, own: Tracks, places: DoubleArray, found: NDArray[np.bool_]) -> None:
        """One step of the filter for the keypoints that were found."""
        known, config = own["known"][..., None], self.config
        wait = np.maximum(self._time - own["when"], _STEP)  # (P, K)
        carried = own["steady"] + own["velocity"][:, None] * wait[..., None]
        steady, speed = one_euro(
            places,
            np.where(known, carried, places),
            own["speed"],
            wait,
            config.min_cutoff,
            config.beta / own["size"][:, None],
            config.derivative_cutoff,
        )
        for name, value in (("steady", steady), ("speed", speed)):
            own[name] = np.where(found[..., None], value, own[name])
        own["when"] = np.where(found, self._time, own["when"])

    def _kept(self, tracks: Tracks, last: float) -> NDArray[np.bool_]:
        """(N,) which tracks are still waited for: of the last frame, or seen often and lately."""
        often = tracks["hits"] >= self.config.min_hits
        lately = self._time - tracks["seen"] <= self.config.max_lost_seconds
        return np.asarray((tracks["seen"] == last) | (often & lately))


def _row(keypoints: int) -> np.dtype[np.void]:
    """What is kept of one person; lengths in pixels, times in seconds."""
    return np.dtype(
        [
            ("number", np.int64),
            ("hits", np.int64),  # frames with this person
            ("seen", float),  # last
            ("size", float),
            ("velocity", float, 2),  # of the whole body, a second
            ("place", float, (keypoints, 2)),  # last found, and moved with the body since
            ("known", bool, keypoints),  # found at least once
            ("when", float, keypoints),  # last found
            ("steady", float, (keypoints, 2)),  # the filter's state: points,
            ("speed", float, (keypoints, 2)),  # and their velocity
        ]
    )


def _expected(tracks: Tracks, wait: DoubleArray) -> DoubleArray:
    """(N, K, 2) where motion leads the tracks' keypoints."""
    return np.asarray(tracks["place"] + (tracks["velocity"] * wait[:, None])[:, None])


def _sizes(poses: Poses) -> DoubleArray:
    """(P,) people's sizes: the square root of the box's area, as in COCO's formula.

    Of a box that is flat, since few keypoints were found, half its length.
    """
    width, height = poses.boxes[:, 2:].T.astype(np.float64)
    flat = np.maximum(width, height) / 2
    return np.asarray(np.sqrt(width * height).clip(np.maximum(flat, _LEAST_SIZE)))


def _shift(offsets: DoubleArray, counted: NDArray[np.bool_]) -> DoubleArray:
    """(P, 2) how far each body moved: the median of its (P, K, 2) offsets that count, or 0."""
    kept = np.where(counted[..., None], offsets, np.inf)
    ordered = np.sort(kept, axis=1)
    count = counted.sum(1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], 1)  # of an even number, two
    two = np.take_along_axis(ordered, middle[..., None], 1)
    return np.where(count[:, None] > 0, two.mean(1), 0)


def _match(similarity: DoubleArray, rank: NDArray[np.intp], least: float) -> NDArray[np.intp]:
    """(P,) the track of each person, -1 for none, so that pairs are the most alike in all.

    Tracks of rank 0 choose first, then those of rank 1, then 2.
    """
    similarity = np.where(similarity < least, 0, similarity)
    owner = np.full(similarity.shape[1], -1)
    for turn in range(3):
        tracks, free = np.flatnonzero(rank == turn), np.flatnonzero(owner < 0)
        gain = similarity[np.ix_(tracks, free)]
        rows, columns = _pairs(gain)
        alike = gain[rows, columns] > 0
        owner[free[columns[alike]]] = tracks[rows[alike]]
    return owner


def _pairs(gain: DoubleArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns, each at most once, whose gain is the highest in all."""
    if len(gain) > gain.shape[1]:
        columns, rows = _pairs(gain.T)
        return rows, columns
    return np.arange(len(gain)), assign(-gain) if gain.size else np.arange(0)
