"""The decoding of the reference implementation, reimplemented with the same libraries.

It takes the same steps in the same order with the same libraries (PyTorch, munkres, NumPy) and data
types, and has the same loops over people and keypoints. It is the baseline of the benchmarks and an
oracle for the tests of `higherhrnet.decoding`.

The results are bit-identical to the golden arrays, provided that munkres 3 is installed, with which
these were recorded: rounded costs are often equal, and munkres 1 and 2 break such ties differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from munkres import Munkres
from numpy.typing import NDArray
from torch import Tensor

from higherhrnet.arrays import FloatArray

View = tuple[Tensor, Tensor]
"""The outputs of one view: (1, 2K, h, w) heatmaps and tags, and (1, K, 2h, 2w) heatmaps."""

MAX_PEOPLE = 30
MIN_PEAK = 0.1
MAX_TAG_DISTANCE = 1.0
PEAK_WINDOW = 5
PADDING_COST = 1e10
"""Cost of the columns that make the cost matrix square."""


def decode(
    heatmaps: Tensor,
    tags: Tensor,
    order: Sequence[int],
    adjust: bool = True,
    refine: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Decodes the maps of one image into people.

    Args:
        heatmaps: (1, K, H, W).
        tags: (1, K, H, W, T).
        order: the grouping order of the skeleton.
        adjust: move each keypoint a quarter of a pixel toward its higher neighbor, and by half a
            pixel to the pixel center.
        refine: find the missing keypoints of each person.

    Returns:
        (P, K, 3 + T) x, y, score and tags of each keypoint, and (P,) scores of the people, in the
        order in which grouping created the people.
    """
    people = match_by_tag(*nms_and_top_k(heatmaps, tags), order)
    if adjust:
        adjust_people(people, heatmaps)
    scores = np.array([person[:, 2].mean() for person in people], np.float32)
    if refine:
        for person in people:  # copies the maps from the GPU for each person
            refine_person(person, heatmaps[0].cpu().numpy(), tags[0].cpu().numpy())
    return people, scores


def aggregate(
    outputs: Mapping[float, Sequence[View]],
    flip_index: Sequence[int],
    base_size: tuple[int, int],
    project: bool = True,
) -> tuple[Tensor, Tensor]:
    """Merges the outputs of all scales and views.

    Args:
        outputs: for each scale the outputs of the plain view, and of the flipped view if it is
            used.
        flip_index: for each keypoint, the index of the keypoint that replaces it in a flipped
            image.
        base_size: height and width of the network's input at scale 1.
        project: resize all maps to `base_size`; False: to the size of the finest map of the
            largest scale.

    Returns:
        (1, K, H, W) heatmaps, averaged, and (1, K, H, W, T) tags of the T views of scale 1.
    """
    finest = outputs[max(outputs)][0][1]
    size = base_size if project else finest.shape[2:]
    heatmaps: list[Tensor] = []
    tags: list[Tensor] = []
    for scale in sorted(outputs, reverse=True):
        views = [
            merge_resolutions(view, flip_index, i > 0) for i, view in enumerate(outputs[scale])
        ]
        if project:
            views = [(resize(heatmap, size), resize(tag, size)) for heatmap, tag in views]
        heatmaps.append(resize(mean([heatmap for heatmap, _ in views]), size))
        if scale == 1 or len(outputs) == 1:
            tags = [resize(tag, size) for _, tag in views]
    return mean(heatmaps), torch.stack(tags, 4)


def merge_resolutions(
    view: View, flip_index: Sequence[int], flipped: bool
) -> tuple[Tensor, Tensor]:
    """Merges the two resolutions of one view, and flips a flipped view back.

    Returns:
        Heatmaps and tags, (1, K, 2h, 2w) each.
    """
    low, high = view
    low = resize(low, high.shape[2:])
    if flipped:
        low, high = low.flip(3), high.flip(3)
    keypoints = high.shape[1]
    heatmaps, tags = low[:, :keypoints], low[:, keypoints:]
    if flipped:
        index = list(flip_index)
        heatmaps, tags, high = heatmaps[:, index], tags[:, index], high[:, index]
    return (heatmaps + high) / 2, tags


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes (1, C, h, w) maps bilinearly, with pixel centers at half-integers."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def mean(maps: Sequence[Tensor]) -> Tensor:
    """Computes the average of the maps, added from the first to the last."""
    return reduce(torch.add, maps) / len(maps)


def nms_and_top_k(
    heatmaps: Tensor, tags: Tensor
) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Finds the 30 highest local maxima of each heatmap.

    Returns:
        (K, 30, 2) x and y, (K, 30) scores and (K, 30, T) tags, in descending order of the scores,
        which are 0 where a heatmap has fewer maxima.
    """
    pooled = F.max_pool2d(heatmaps, PEAK_WINDOW, stride=1, padding=PEAK_WINDOW // 2)
    peaks = heatmaps * (pooled == heatmaps).float()
    values, cells = peaks[0].flatten(1).topk(MAX_PEOPLE, dim=1)
    flat_tags = tags[0].flatten(1, 2)
    at_peaks = [flat_tags[..., t].gather(1, cells) for t in range(tags.shape[4])]
    width = heatmaps.shape[3]
    locations = torch.stack([cells % width, cells // width], 2)
    return locations.cpu().numpy(), values.cpu().numpy(), torch.stack(at_peaks, 2).cpu().numpy()


def match_by_tag(
    locations: NDArray[np.int64], values: FloatArray, tags: FloatArray, order: Sequence[int]
) -> FloatArray:
    """Groups the peaks into people, one keypoint after another.

    People are stored in a dictionary whose key is the first tag value of the peak that created the
    person. If a later peak with the same value should create a person, it replaces the tags of the
    existing one instead. This is a bug of the reference implementation, which is reproduced here.

    Args:
        locations: (K, 30, 2) x and y.
        values: (K, 30) scores.
        tags: (K, 30, T).
        order: the grouping order of the skeleton.

    Returns:
        (P, K, 3 + T) x, y, score and tags of each keypoint.
    """
    people: dict[float, NDArray[np.float64]] = {}
    member_tags: dict[float, list[FloatArray]] = {}
    blank = np.zeros((len(order), 3 + tags.shape[2]))
    for k in order:
        # The integer locations make this float64, and hence all distances and costs.
        candidates = np.concatenate([locations[k], values[k][:, None], tags[k]], 1)
        strong = candidates[:, 2] > MIN_PEAK
        candidates, candidate_tags = candidates[strong], tags[k][strong]
        keys = list(people)[:MAX_PEOPLE]
        means = np.array([np.mean(member_tags[key], axis=0) for key in keys])
        for row, column in assign(candidates, means):
            tag = candidate_tags[row]
            if column is None:
                key = float(tag[0])
                member_tags[key] = [tag]
            else:
                key = keys[column]
                member_tags[key].append(tag)
            people.setdefault(key, blank.copy())[k] = candidates[row]
    return np.array(list(people.values()), np.float32).reshape(-1, *blank.shape)


def assign(candidates: NDArray[np.float64], means: FloatArray) -> Iterator[tuple[int, int | None]]:
    """Assigns peaks to people.

    Args:
        candidates: (N, 3 + T) x, y, score and tags of the peaks.
        means: (G, T) mean tags of the people.

    Yields:
        Pairs of the index of a peak and the index of a person, or None to create a new person.
    """
    count, groups = len(candidates), len(means)
    if count == 0 or groups == 0:
        yield from ((row, None) for row in range(count))
        return
    distances = np.linalg.norm(candidates[:, None, 3:] - means[None], ord=2, axis=2)
    costs = np.round(distances) * 100 - candidates[:, 2:3]
    if count > groups:
        costs = np.concatenate([costs, np.full((count, count - groups), PADDING_COST)], 1)
    for row, column in Munkres().compute(costs):
        joins = column < groups and distances[row, column] < MAX_TAG_DISTANCE
        yield row, column if joins else None


def adjust_people(people: FloatArray, heatmaps: Tensor) -> None:
    """Adjusts the keypoints of all people in place."""
    for person in people:
        for k, (x, y, score) in enumerate(person[:, :3]):
            if score > 0:
                person[k, :2] = adjusted_position(heatmaps[0, k], int(x), int(y))


def adjusted_position(heatmap: Tensor | FloatArray, x: int, y: int) -> tuple[float, float]:
    """Moves a pixel's center a quarter of a pixel toward the higher neighbor, on each axis.

    Where the neighbors are equal, it moves to the left or up.

    Returns:
        x and y, where the center of the first pixel is at 0.5.
    """
    height, width = heatmap.shape
    right = heatmap[y, min(x + 1, width - 1)] > heatmap[y, max(x - 1, 0)]
    below = heatmap[min(y + 1, height - 1), x] > heatmap[max(y - 1, 0), x]
    return x + 0.5 + (0.25 if right else -0.25), y + 0.5 + (0.25 if below else -0.25)


def refine_person(person: FloatArray, heatmaps: FloatArray, tags: FloatArray) -> None:
    """Finds the missing keypoints of a person, in place.

    All K maps are searched, even those of keypoints that are not missing.

    Args:
        person: (K, 3 + T) x, y, score and tags; the tags of refined keypoints stay 0.
        heatmaps: (K, H, W).
        tags: (K, H, W, T).
    """
    own = [tags[k, int(y), int(x)] for k, (x, y, score) in enumerate(person[:, :3]) if score > 0]
    own_mean = np.mean(own, axis=0)
    refined = []
    for heatmap, tag in zip(heatmaps, tags, strict=True):
        distance = ((tag - own_mean) ** 2).sum(axis=2) ** 0.5
        best = np.unravel_index(np.argmax(heatmap - np.round(distance)), heatmap.shape)
        refined.append((*adjusted_position(heatmap, int(best[1]), int(best[0])), heatmap[best]))
    for k, (x, y, score) in enumerate(refined):
        if score > 0 and person[k, 2] == 0:
            person[k, :3] = x, y, score
