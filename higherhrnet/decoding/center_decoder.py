"""Decoding by centers: the decoder of networks that predict heatmaps, tags, centers and offsets.

Each center gives an approximate pose, by the offsets. The peaks of the heatmaps are assigned to
these poses; keypoints without a peak stay where the offsets lead. Tags are not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.decoding import aggregate
from higherhrnet.decoding.aggregate import Maps, ScaleMaps
from higherhrnet.decoding.drawable import DrawableMaps
from higherhrnet.decoding.match_peaks import assign_peaks, best_peaks, match_values
from higherhrnet.decoding.offsets.centers import find_centers, poses_at
from higherhrnet.decoding.offsets.offset_decoder import MIN_KEYPOINT_SCORE
from higherhrnet.decoding.offsets.offset_maps import merge_offsets
from higherhrnet.decoding.peaks import find_peaks
from higherhrnet.decoding.rescore import rescore
from higherhrnet.decoding.select import non_maximum_suppression
from higherhrnet.decoding.subpixel import locate_by_parabola
from higherhrnet.decoding.tag_decoder import drawable_tags
from higherhrnet.decoding.whole_maps import flip_horizontally
from higherhrnet.errors import InputError
from higherhrnet.geometry import FIRST_PIXEL_CENTER, Resize, main_scale
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton


class CenterScale(NamedTuple):
    """The maps of one image at one scale, merged over the views."""

    heatmaps: FloatArray
    """(K, h, w), averaged over views and strides."""
    tags: FloatArray
    """(K or 1, V, h', w'), one tag per view."""
    centers: FloatArray
    """(h', w') heatmap of the centers, averaged over the views."""
    offsets: FloatArray
    """(2K, h', w') offsets in cells, averaged over the views: for each keypoint x, then y."""


@dataclass(frozen=True)
class CenterMaps:
    """The maps of one image."""

    merged: Maps
    """The heatmaps of all scales, averaged at the size of the finest, and the tags."""
    scales: Mapping[float, CenterScale]
    """The maps of each scale."""

    @property
    def decode_size(self) -> tuple[int, int]:
        """Height and width of the heatmaps, in whose pixels people are decoded."""
        return self.merged.decode_size


class CenterDecoder:
    """Assigns keypoints to people by centers and offsets; see `decoders.Decoder`.

    Args:
        header: the header of the model.
    """

    map_names: tuple[str, ...] = ("heatmaps", "tags", "offsets")

    def __init__(self, header: Header) -> None:
        self._skeleton, self._rescoring = header.skeleton, header.rescoring
        self._first_pixel_center = FIRST_PIXEL_CENTER[header.input.convention]

    def base_scale(self, scales: Sequence[float]) -> float:
        """Returns the smallest scale, so that all scales cover the same part of the image."""
        return min(scales)

    def merge_views(self, levels: Sequence[FloatArray]) -> CenterScale:
        """Merges strides and views of one scale; centers and offsets are the last level."""
        *tag_levels, last = levels
        flip = self._skeleton.flip_index
        heatmaps, tags = aggregate.merge_views(tag_levels, len(self._skeleton), flip)
        centers = last[0, 0]
        if len(last) > 1:
            centers = (centers + flip_horizontally(last[1, :1])[0]) / 2
        return CenterScale(heatmaps, tags, centers, merge_offsets(last[:, 1:], flip))

    def merge_scales(
        self,
        scales: Mapping[float, Sequence[FloatArray]],
        input_size: tuple[int, int],
        config: InferenceConfig,
    ) -> CenterMaps:
        """Averages the heatmaps of all scales at the size of the finest.

        Raises:
            InputError: the maps contain NaN or infinity.
        """
        by_scale = {scale: CenterScale(*maps) for scale, maps in scales.items()}
        if not all(np.isfinite(m.centers.sum() + m.offsets.sum()) for m in by_scale.values()):
            raise InputError(aggregate.NOT_FINITE)
        merged = {s: ScaleMaps(maps.heatmaps, maps.tags) for s, maps in by_scale.items()}
        return CenterMaps(aggregate.merge_scales(merged, None), by_scale)

    def decode(self, maps: CenterMaps, transform: Resize, config: InferenceConfig) -> Poses:
        """Finds the people of one image in its maps, in pixels of the image."""
        poses = decode_centers(maps, self._skeleton, config.decode, self._first_pixel_center)
        keypoints = transform.to_image(poses.keypoints, maps.decode_size)
        scores, keypoint_scores = poses.scores, poses.keypoint_scores
        if self._rescoring and config.decode.offsets.rescore:
            side = transform.image_side
            scores = rescore(keypoints, keypoint_scores, scores, side, self._rescoring)
        return Poses(keypoints.astype(np.float32), keypoint_scores, scores, self._skeleton)

    def drawable(self, maps: CenterMaps) -> DrawableMaps:
        """Returns the heatmaps and tags of all scales, and the centers and offsets of one."""
        base = maps.scales[main_scale(maps.scales)]
        heatmaps, tags = drawable_tags(maps.merged)
        return DrawableMaps(heatmaps, tags, base.centers, base.offsets)


def decode_centers(
    maps: CenterMaps, skeleton: Skeleton, config: DecodeConfig, first_pixel_center: float = 0.5
) -> Poses:
    """Finds the people of one image in its maps.

    Several centers may belong to one person. Their poses become alike when each keypoint moves to
    its best peak, so all but one of them are then removed, before each peak is assigned to only one
    person.

    Args:
        maps: the maps of the image.
        skeleton: the keypoints.
        config: the settings.
        first_pixel_center: the coordinate of the center of the first pixel.

    Returns:
        The people in pixels of `maps.decode_size`, whose scores are the mean of the keypoints'
        scores times the square root of the center's value. Every person has all keypoints: without
        a peak, they are at their regressed positions with the value of the heatmap there.
    """
    regressed = regress_poses(maps, skeleton, config, first_pixel_center)
    heatmaps, _ = maps.merged.upsampled()
    bounds = heatmaps.block_maxima()[:, 0]
    peaks = find_peaks(heatmaps, bounds, config.min_peak, config.peak_window, config.max_people)
    positions = locate_by_parabola(heatmaps, peaks.keypoint, peaks.x, peaks.y)
    positions += np.float32(first_pixel_center)
    sigma, min_match = config.centers.match_sigma, config.centers.min_match
    match = match_values(peaks, positions, regressed.keypoints, sigma)
    best = best_peaks(peaks, match, len(skeleton), min_match)
    moved = _move_to_peaks(regressed, best, positions, peaks.score)
    kept = non_maximum_suppression(moved, config.centers.max_similarity)
    assigned = assign_peaks(peaks, match[kept], len(skeleton), min_match)
    return _move_to_peaks(regressed[kept], assigned, positions, peaks.score)


def regress_poses(
    maps: CenterMaps, skeleton: Skeleton, config: DecodeConfig, first_pixel_center: float
) -> Poses:
    """Finds the centers of all scales and the poses at them.

    The arguments are as in `decode_centers`.

    Returns:
        The poses in pixels of `maps.decode_size`; the score of a keypoint is the value of its
        heatmap, and that of a person the value of the center.
    """
    keypoints, centers = [], []
    for scale in maps.scales.values():
        cells, values = find_centers(scale.centers, config.centers.min_center, config.max_people)
        stride = maps.decode_size[0] / scale.centers.shape[0]
        at_centers = (poses_at(cells, scale.offsets) + first_pixel_center) * stride
        keypoints.append(at_centers.astype(np.float32))
        centers.append(values)
    found = np.concatenate(keypoints)
    heatmaps, _ = maps.merged.upsampled()
    pixels = np.floor(found - first_pixel_center + 0.5).astype(np.intp)
    x, y = pixels[..., 0].clip(0, heatmaps.width - 1), pixels[..., 1].clip(0, heatmaps.height - 1)
    k = np.broadcast_to(np.arange(len(skeleton)), x.shape)
    scores = heatmaps.at(k.ravel(), y.ravel(), x.ravel()).reshape(x.shape)
    scores = np.maximum(scores, np.float32(MIN_KEYPOINT_SCORE))
    return Poses(found, scores, np.concatenate(centers), skeleton)


def _move_to_peaks(
    regressed: Poses, indices: IndexArray, positions: FloatArray, scores: FloatArray
) -> Poses:
    """Moves keypoints to peaks, and computes the scores of the people.

    Args:
        regressed: P poses, whose scores are the values of the centers.
        indices: (P, K) indices of the peaks, -1 for keypoints that stay.
        positions: (N, 2) x and y of the peaks.
        scores: (N,) scores of the peaks.
    """
    keypoints, keypoint_scores = regressed.keypoints.copy(), regressed.keypoint_scores.copy()
    has_peak = indices >= 0
    keypoints[has_peak] = positions[indices[has_peak]]
    keypoint_scores[has_peak] = scores[indices[has_peak]]
    return replace(
        regressed,
        keypoints=keypoints,
        keypoint_scores=keypoint_scores,
        scores=keypoint_scores.mean(1) * np.sqrt(regressed.scores),
    )
