"""Tracking: assigns the people of each frame to tracks by similarity of poses and by motion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray, IndexArray
from higherhrnet.decoding.assignment import assign
from higherhrnet.errors import require
from higherhrnet.poses.oks import object_keypoint_similarity
from higherhrnet.poses.poses import Poses
from higherhrnet.tracking.one_euro import one_euro

Tracks = NDArray[np.void]
"""(N,) tracks; `_track_dtype` describes the fields."""

_MIN_STEP = 1e-3  # seconds from one frame to the next, if timestamps do not increase
_VELOCITY_SECONDS = 0.3  # time constant of the mean of a person's velocity
_SIZE_SECONDS = 1.0  # time constant with which a size shrinks while a part of the body is hidden
_MIN_SIZE = 16.0  # pixels


@dataclass(frozen=True)
class TrackConfig:
    """How people are tracked through a video, and how their keypoints are smoothed.

    A body size is the square root of the area of a person's bounding box, and at least half the
    box's longer side and 16 pixels.

    The fields are described in the online API reference and in `higherhrnet predict --help`.
    """

    min_similarity: float = 0.1
    """Minimum Object Keypoint Similarity, 0 to 1, for matching a detected person with the predicted
    pose of a track."""
    min_new_score: float = 0.2
    """Minimum score, 0 to 1, of a person who matches no track and starts a new one. Unmatched
    people with lower scores, many of which are false, are omitted (ByteTrack, Zhang et al., ECCV
    2022)."""
    max_lost_seconds: float = 1.0
    """Time in seconds for which the track ID of a person who is not detected is kept. A person who
    is detected again later gets a new track ID."""
    min_hits: int = 3
    """Minimum number of frames with a detection before a lost track is kept for
    --tracking.max-lost-seconds; other tracks end at the first missed frame."""
    drift: float = 0.5
    """Expected deviation of people from their predicted motion, in body sizes per second. Higher
    values match people to tracks at larger distances. A body size is the square root of the area of
    the bounding box, and at least half the box's longer side and 16 pixels."""
    smooth: bool = True
    """Smooth the keypoints over time with a One-Euro filter."""
    min_cutoff: float = 1.0
    """Cutoff frequency in Hz of the One-Euro filter for keypoints that do not move. Lower values
    reduce jitter more."""
    beta: float = 0.5
    """Increase of the One-Euro filter's cutoff frequency in Hz for keypoints that move one body
    size per second. Higher values reduce the lag of fast-moving keypoints."""
    derivative_cutoff: float = 1.0
    """Cutoff frequency in Hz of the One-Euro filter for the velocity of keypoints."""

    def __post_init__(self) -> None:
        require(
            0 < self.min_similarity <= 1,
            f"min_similarity must be above 0 and at most 1, not {self.min_similarity}",
        )
        require(
            0 <= self.min_new_score <= 1,
            f"min_new_score must be from 0 to 1, not {self.min_new_score}",
        )
        require(self.min_hits >= 1, f"min_hits must be at least 1, not {self.min_hits}")
        for name in ("max_lost_seconds", "drift", "beta"):
            value = getattr(self, name)
            require(0 <= value < np.inf, f"{name} must be finite and at least 0, not {value}")
        for name in ("min_cutoff", "derivative_cutoff"):
            value = getattr(self, name)
            require(0 < value < np.inf, f"{name} must be finite and above 0, not {value}")


class Tracker:
    """Tracks people through one video: call it with the poses of each frame in order.

    The time between frames may vary. Memory use: about 1 kB per track.

    Args:
        config: the settings (default: those of `TrackConfig`).
    """

    def __init__(self, config: TrackConfig | None = None) -> None:
        self.config = config or TrackConfig()
        self._timestamp = 0.0  # seconds, of the last frame
        self._step = 0.0  # seconds, from the frame before to the last one
        self._time = 0.0  # seconds, sum of the steps
        self._track_count = 0
        self._tracks: Tracks | None = None

    def __call__(self, poses: Poses, seconds: float) -> Poses:
        """Assigns track IDs to the people of the next frame, and smooths their keypoints.

        A person who reappears within `max_lost_seconds`, and had been detected in at least
        `min_hits` frames, keeps the track ID. Missing keypoints stay missing.

        Args:
            poses: the poses of the frame, in pixels.
            seconds: the timestamp of the frame in seconds. If it is not above that of the frame
                before, the frame counts as 1 ms later.

        Returns:
            The people with track IDs, which count from 1, in the same order. People who match no
            track are omitted if their scores are below `min_new_score`.

        Raises:
            InputError: `seconds` is not a finite number, or the number of keypoints has changed.
        """
        require(np.isfinite(seconds), f"seconds must be a finite number, not {seconds}")
        dtype = _track_dtype(len(poses.skeleton))
        if self._tracks is None:
            self._tracks, self._timestamp = np.zeros(0, dtype), seconds
        require(
            self._tracks.dtype == dtype,
            f"a Tracker needs the same keypoints in every frame; there are {len(poses.skeleton)} "
            "keypoints now and there were others before",
        )
        last_time = self._time
        max_gap = max(self.config.max_lost_seconds, self._step)
        self._step = max(seconds - self._timestamp, _MIN_STEP)
        self._timestamp, self._time = seconds, last_time + self._step
        tracks = self._tracks[self._is_active(self._tracks, last_time)]
        # Tracks of the last frame precede lost ones, and confirmed ones precede new ones.
        rank = np.where(tracks["last_seen"] < last_time, 2, tracks["hits"] < self.config.min_hits)
        similarity = self._similarity(tracks, poses, max_gap)
        track_of = _match(similarity, rank, self.config.min_similarity)
        kept = (track_of >= 0) | (poses.scores >= self.config.min_new_score)
        if not kept.all():
            poses, track_of = poses[kept], track_of[kept]
        unmatched = np.flatnonzero(track_of < 0)
        track_of[unmatched] = len(tracks) + np.arange(len(unmatched))
        tracks = np.concatenate([tracks, self._new_tracks(len(unmatched), dtype)])
        keypoints = self._update(tracks, track_of, poses)
        self._tracks = tracks
        return replace(poses, keypoints=keypoints, track_ids=tracks["track_id"][track_of])

    def _is_active(self, tracks: Tracks, last_time: float) -> BoolArray:
        """Returns (N,) whether a track is in the last frame, or confirmed and not lost too long."""
        confirmed = tracks["hits"] >= self.config.min_hits
        recent = self._time - tracks["last_seen"] <= self.config.max_lost_seconds
        return np.asarray((tracks["last_seen"] == last_time) | (confirmed & recent))

    def _similarity(self, tracks: Tracks, poses: Poses, max_gap: float) -> DoubleArray:
        """Computes (N, P) Object Keypoint Similarity of tracks' predicted poses and of people.

        The sigmas grow with the time since a track was seen, up to `max_gap` seconds. The size of a
        person counts at least as that of the track, because only a part of the body may be found.
        """
        gap = np.minimum(self._time - tracks["last_seen"], max_gap)
        predicted = tracks["position"] + (tracks["velocity"] * gap[:, None])[:, None]
        track_area = np.square(tracks["size"])[:, None]
        area = (track_area + np.maximum(track_area, np.square(_sizes(poses)))) / 2
        similarity = object_keypoint_similarity(
            offsets=poses.keypoints - predicted[:, None],
            areas=area,
            sigmas=np.hypot(poses.skeleton.sigmas, self.config.drift * gap[:, None, None] / 2),
            compared=tracks["observed"][:, None] & poses.found,
        )
        return np.asarray(similarity, np.float64)

    def _new_tracks(self, count: int, dtype: np.dtype[np.void]) -> Tracks:
        """Tracks for people who match no track."""
        tracks = np.zeros(count, dtype)
        tracks["track_id"] = self._track_count + 1 + np.arange(count)
        tracks["last_seen"] = self._time
        self._track_count += count
        return tracks

    def _update(self, tracks: Tracks, track_of: IndexArray, poses: Poses) -> FloatArray:
        """Updates the track of each person, in place.

        Returns:
            (P, K, 2) smoothed keypoints.
        """
        own = tracks[track_of]
        found, positions = poses.found, poses.keypoints.astype(np.float64)
        shift = _median_offset(positions - own["position"], found & own["observed"])
        gap = np.maximum(self._time - own["last_seen"], _MIN_STEP)
        weight = 1 - np.exp(-gap / _VELOCITY_SECONDS)
        own["velocity"] += weight[:, None] * (shift / gap[:, None] - own["velocity"])
        own["size"] = np.maximum(own["size"] * np.exp(-gap / _SIZE_SECONDS), _sizes(poses))
        self._smooth(own, positions, found)
        own["position"] = np.where(found[..., None], positions, own["position"] + shift[:, None])
        own["observed"] |= found
        own["hits"] += 1
        own["last_seen"] = self._time
        tracks[track_of] = own
        keypoints = own["filtered"] if self.config.smooth else positions
        return np.where(found[..., None], keypoints, 0).astype(np.float32)

    def _smooth(self, own: Tracks, positions: DoubleArray, found: BoolArray) -> None:
        """Filters the keypoints that were found, in place."""
        observed, config = own["observed"][..., None], self.config
        gap = np.maximum(self._time - own["keypoint_last_seen"], _MIN_STEP)  # (P, K)
        predicted = own["filtered"] + own["velocity"][:, None] * gap[..., None]
        filtered, velocity = one_euro(
            positions,
            np.where(observed, predicted, positions),
            own["filtered_velocity"],
            gap,
            config.min_cutoff,
            config.beta / own["size"][:, None],
            config.derivative_cutoff,
        )
        for name, value in (("filtered", filtered), ("filtered_velocity", velocity)):
            own[name] = np.where(found[..., None], value, own[name])
        own["keypoint_last_seen"] = np.where(found, self._time, own["keypoint_last_seen"])


def _track_dtype(keypoints: int) -> np.dtype[np.void]:
    """Returns the fields of a track; lengths in pixels, times in seconds."""
    return np.dtype(
        [
            ("track_id", np.int64),
            ("hits", np.int64),  # number of frames with this person
            ("last_seen", float),
            ("size", float),
            ("velocity", float, 2),  # of the body, per second
            ("position", float, (keypoints, 2)),  # where last found, moved with the body since
            ("observed", bool, keypoints),  # found at least once
            ("keypoint_last_seen", float, keypoints),
            ("filtered", float, (keypoints, 2)),  # state of the filter: positions
            ("filtered_velocity", float, (keypoints, 2)),  # relative to that of the body
        ]
    )


def _sizes(poses: Poses) -> DoubleArray:
    """Computes (P,) body sizes: the square root of the area of the box, as in COCO's formula.

    A body size is at least half the length of the box: boxes of few keypoints can be flat.
    """
    width, height = poses.boxes[:, 2:].T.astype(np.float64)
    half_length = np.maximum(width, height) / 2
    return np.asarray(np.sqrt(width * height).clip(np.maximum(half_length, _MIN_SIZE)))


def _median_offset(offsets: DoubleArray, mask: BoolArray) -> DoubleArray:
    """Computes (P, 2) medians of (P, K, 2) offsets where (P, K) `mask` is set; 0 if nowhere."""
    ordered = np.sort(np.where(mask[..., None], offsets, np.inf), axis=1)
    count = mask.sum(1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], 1)
    middle_offsets = np.take_along_axis(ordered, middle[..., None], 1)
    return np.where(count[:, None] > 0, middle_offsets.mean(1), 0)


def _match(similarity: DoubleArray, rank: IndexArray, min_similarity: float) -> IndexArray:
    """Assigns people to tracks so that the sum of their similarities is as high as possible.

    Args:
        similarity: (N, P) similarity of tracks and people.
        rank: (N,) 0 for tracks that are assigned first, then 1, then 2.
        min_similarity: the minimum similarity of a track and its person.

    Returns:
        (P,) the track of each person, or -1.
    """
    similarity = np.where(similarity < min_similarity, 0, similarity)
    track_of = np.full(similarity.shape[1], -1)
    for current in range(3):
        tracks, people = np.flatnonzero(rank == current), np.flatnonzero(track_of < 0)
        gain = similarity[np.ix_(tracks, people)]
        rows, columns = _maximum_assignment(gain)
        similar = gain[rows, columns] > 0
        track_of[people[columns[similar]]] = tracks[rows[similar]]
    return track_of


def _maximum_assignment(gain: DoubleArray) -> tuple[IndexArray, IndexArray]:
    """Rows and columns, each at most once, with the highest sum of gains."""
    if len(gain) > gain.shape[1]:
        columns, rows = _maximum_assignment(gain.T)
        return rows, columns
    return np.arange(len(gain)), assign(-gain) if gain.size else np.arange(0)
