"""Decoding by centers and offsets: maps → poses, scored, suppressed, matched and rescored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.decoding.drawable import DrawableMaps
from higherhrnet.decoding.offsets.centers import find_centers, poses_at
from higherhrnet.decoding.offsets.match import move_to_fits, move_to_peaks
from higherhrnet.decoding.offsets.offset_maps import (
    OffsetMaps,
    ScaleOffsets,
    merge_scales,
    merge_views,
)
from higherhrnet.decoding.offsets.pose_nms import suppress_poses
from higherhrnet.decoding.rescore import rescore
from higherhrnet.decoding.whole_maps import resize
from higherhrnet.errors import InputError
from higherhrnet.geometry import FIRST_PIXEL_CENTER, Resize, main_scale
from higherhrnet.poses.poses import Poses

NMS_DISTANCE = 0.05
"""The default of `OffsetDecodeConfig.nms_distance` with one scale."""
NMS_DISTANCE_SCALES = 0.15
"""The same with several scales."""
MIN_KEYPOINT_SCORE = 1e-6
"""The minimum score of a keypoint. Every person has all keypoints, and a score of 0 would mean that
a keypoint is missing."""


class RegressedPoses(NamedTuple):
    """Poses in pixels of the network's input."""

    keypoints: FloatArray
    """(P, K, 2) x and y."""
    centers: FloatArray
    """(P,) value of each person's center."""


class ScoredPoses(NamedTuple):
    """The people of one image in pixels of the network's input."""

    keypoints: FloatArray
    """(P, K, 2) x and y."""
    keypoint_scores: FloatArray
    """(P, K) value of the person's center times the value of the keypoint's heatmap."""
    scores: FloatArray
    """(P,) mean score of the person's keypoints."""


class OffsetDecoder:
    """Finds people by their centers; the decoder of networks that predict offsets.

    Args:
        header: the header of the model.
    """

    map_names: tuple[str, ...] = ("heatmaps", "offsets")

    def __init__(self, header: Header) -> None:
        self._skeleton, self._rescoring = header.skeleton, header.rescoring
        self._first_pixel_center = FIRST_PIXEL_CENTER[header.input.convention]

    def base_scale(self, scales: Sequence[float]) -> float:
        """Returns the scale whose input size is a multiple of 64: 1, or the only one.

        Raises:
            InputError: a scale does not divide 4.
        """
        base = main_scale(scales)
        for scale in scales:
            if (4 * base / scale) % 1:
                raise InputError(
                    f"the scale {scale:g} does not divide 4, as the heatmaps of offset models "
                    "need; use powers of 2 as scales, for example 0.5 1 2"
                )
        return base

    def merge_views(self, levels: Sequence[FloatArray]) -> ScaleOffsets:
        """Averages the views of one scale; see `offset_maps.merge_views`."""
        return merge_views(levels, self._skeleton.flip_index)

    def merge_scales(
        self,
        scales: Mapping[float, Sequence[FloatArray]],
        input_size: tuple[int, int],
        config: InferenceConfig,
    ) -> OffsetMaps:
        """Collects the maps of all scales; see `offset_maps.merge_scales`."""
        return merge_scales(scales, input_size, self._first_pixel_center)

    def decode(self, maps: OffsetMaps, transform: Resize, config: InferenceConfig) -> Poses:
        """Finds the people of one image in its maps, in pixels of the image."""
        people = decode_offsets(maps, config.decode)
        keypoints = transform.to_image(people.keypoints, maps.decode_size)
        scores = people.scores
        if self._rescoring and config.decode.offsets.rescore:
            side = transform.image_side
            scores = rescore(keypoints, people.keypoint_scores, scores, side, self._rescoring)
        return Poses(
            keypoints.astype(np.float32),
            np.maximum(people.keypoint_scores, np.float32(MIN_KEYPOINT_SCORE)),
            scores,
            self._skeleton,
        )

    def drawable(self, maps: OffsetMaps) -> DrawableMaps:
        """Returns the maps of the base scale for drawing."""
        base = maps.base
        height, width = base.heatmaps.shape[1:]
        heatmaps = np.mean([resize(m.heatmaps, height, width) for m in maps.scales.values()], 0)
        return DrawableMaps(heatmaps[:-1], centers=heatmaps[-1], offsets=base.offsets)


def decode_offsets(maps: OffsetMaps, config: DecodeConfig) -> ScoredPoses:
    """Finds the people of one image in its maps.

    Args:
        maps: the maps of the image.
        config: the settings.

    Returns:
        The people, in the order of the suppression; if there are more than `config.max_people`,
        those with the highest heatmap values, sorted.
    """
    poses = regress_poses(maps, config)
    heat = heat_values(poses.keypoints, maps)
    settings, count = config.offsets, heat.shape[1]
    distance, near_keypoints = settings.nms_distance, settings.nms_keypoints
    if distance is None:
        distance = NMS_DISTANCE if len(maps.scales) == 1 else NMS_DISTANCE_SCALES
    kept = suppress_poses(
        poses.keypoints,
        heat.mean(1),
        distance,
        count // 2 if near_keypoints is None else near_keypoints,
        settings.nms_order,
        config.max_people,
    )
    keypoints = poses.keypoints[kept]
    scores = heat[kept] * poses.centers[kept, None]
    if settings.match and len(kept):
        keypoints = move_to_peaks(keypoints, maps, settings.max_match_distance)
        keypoints = move_to_fits(
            keypoints, scores > settings.min_fit_score, maps, settings.exact_fit
        )
    return ScoredPoses(keypoints, scores, scores.mean(1))


def regress_poses(maps: OffsetMaps, config: DecodeConfig) -> RegressedPoses:
    """Finds the poses at the centers of all scales, from the largest scale to the smallest.

    The values of centers at other scales than the base are adapted to those at the base.
    """
    found = {scale: regress_scale(maps, scale, config) for scale in maps.scales}
    base = main_scale(found)
    highest = found[base].centers.max(initial=0) or np.float32(1)
    for scale, poses in found.items():
        if scale != base and len(poses.centers):
            factor = highest * np.float32(config.offsets.other_scales) / poses.centers.max()
            found[scale] = poses._replace(centers=poses.centers * factor)
    return RegressedPoses(*map(np.concatenate, zip(*found.values(), strict=True)))


def regress_scale(maps: OffsetMaps, scale: float, config: DecodeConfig) -> RegressedPoses:
    """Finds the centers of one scale, from high to low, and the poses at them."""
    heatmaps, offsets = maps.scales[scale]
    min_center = config.offsets.min_center
    cells, values = find_centers(heatmaps[-1], min_center, config.max_people)
    first = maps.first_pixel_center
    keypoints = (poses_at(cells, offsets) + first) * maps.stride(scale)
    return RegressedPoses(keypoints.astype(np.float32), values)


def heat_values(keypoints: FloatArray, maps: OffsetMaps) -> FloatArray:
    """Reads the heatmaps at the pixels of (P, K, 2) keypoints: (P, K)."""
    height, width = maps.decode_size
    x, y = np.floor(keypoints[..., 0]), np.floor(keypoints[..., 1])
    k = np.arange(keypoints.shape[1])
    return maps.heatmap_values(k, y.clip(0, height - 1), x.clip(0, width - 1))
