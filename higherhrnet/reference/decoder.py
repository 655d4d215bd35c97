"""Network outputs → people the way the original HigherHRNet does it, slow loops and all.

The yardstick of speed, and a second opinion on what is right: the steps of the authors'
test time, written anew with the same tools (torch, munkres, NumPy), the same number types and the
same order of work. Equal to the golden set to the last digit, given the munkres 3 that it was
recorded with: rounded costs tie often, and munkres 1 and 2 settle ties otherwise.
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
"""One view's outputs: (1, 2K, h, w) heatmaps then tags, and (1, K, 2h, 2w) heatmaps."""

MAX_PEOPLE = 30
MIN_PEAK = 0.1
MAX_TAG_DISTANCE = 1.0
PEAK_WINDOW = 5
NO_GROUP = 1e10


def decode(
    heatmaps: Tensor,
    tags: Tensor,
    order: Sequence[int],
    adjust: bool = True,
    refine: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """The people in one photograph's maps.

    Args:
        heatmaps: (1, K, H, W).
        tags: (1, K, H, W, T).
        order: the skeleton's grouping order.
        adjust: shift keypoints a quarter pixel to the higher neighbour, then half a pixel.
        refine: look for each person's missing keypoints.

    Returns:
        (P, K, 3 + T) x, y, score and tags, in the order of the people's finding, and (P,) scores.
    """
    people = match_by_tag(*nms_and_top_k(heatmaps, tags), order)
    if adjust:
        adjust_people(people, heatmaps)
    scores = np.array([person[:, 2].mean() for person in people], np.float32)
    if refine:
        for person in people:  # from the device anew for every person; on a CPU no bytes move
            refine_person(person, heatmaps[0].cpu().numpy(), tags[0].cpu().numpy())
    return people, scores


def aggregate(
    outputs: Mapping[float, Sequence[View]],
    flip_index: Sequence[int],
    base_size: tuple[int, int],
    project: bool = True,
) -> tuple[Tensor, Tensor]:
    """The outputs of all scales and views as one pair of maps.

    Args:
        outputs: for each scale its plain view, then its mirrored view if there is one.
        flip_index: for each keypoint, the index of its mirror image.
        base_size: height and width of the network's input at scale 1.
        project: resize all maps to `base_size`; else to the largest scale's finest map.

    Returns:
        (1, K, H, W) heatmaps, averaged, and (1, K, H, W, T) tags, a T for each view of scale 1.
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
    view: View, flip_index: Sequence[int], mirrored: bool
) -> tuple[Tensor, Tensor]:
    """One view's heatmaps and tags, (1, K, 2h, 2w) each, with a mirrored view turned back."""
    low, high = view
    low = resize(low, high.shape[2:])
    if mirrored:
        low, high = low.flip(3), high.flip(3)
    keypoints = high.shape[1]
    heatmaps, tags = low[:, :keypoints], low[:, keypoints:]
    if mirrored:
        index = list(flip_index)
        heatmaps, tags, high = heatmaps[:, index], tags[:, index], high[:, index]
    return (heatmaps + high) / 2, tags


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, pixel centres at half-integers; as they are if the size is right already."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def mean(maps: Sequence[Tensor]) -> Tensor:
    """The maps' average, added up from the first on."""
    return reduce(torch.add, maps) / len(maps)


def nms_and_top_k(
    heatmaps: Tensor, tags: Tensor
) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Each keypoint's 30 highest local maxima.

    Returns:
        (K, 30, 2) x and y, (K, 30) scores, (K, 30, T) tags; scores fall, and are 0 past the last.
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
    """Candidates into people, keypoint after keypoint: (P, K, 3 + T).

    A person is known by the first tag value of the candidate that opened it. Another that opens
    under the same value takes that person's place: a slip of the original's, kept here.
    """
    people: dict[float, NDArray[np.float64]] = {}
    member_tags: dict[float, list[FloatArray]] = {}
    blank = np.zeros((len(order), 3 + tags.shape[2]))
    for k in order:
        # Whole-number locations make this float64, and with it all distances and costs.
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
    """For each of (N, 3 + T) candidates the one of (G, T) groups it joins; None to open one."""
    count, groups = len(candidates), len(means)
    if count == 0 or groups == 0:
        yield from ((row, None) for row in range(count))
        return
    distances = np.linalg.norm(candidates[:, None, 3:] - means[None], ord=2, axis=2)
    costs = np.round(distances) * 100 - candidates[:, 2:3]
    if count > groups:
        costs = np.concatenate([costs, np.full((count, count - groups), NO_GROUP)], 1)
    for row, column in Munkres().compute(costs):
        joins = column < groups and distances[row, column] < MAX_TAG_DISTANCE
        yield row, column if joins else None


def adjust_people(people: FloatArray, heatmaps: Tensor) -> None:
    """Move found keypoints to their higher neighbours, in place, reading one number at a time."""
    for person in people:
        for k, (x, y, score) in enumerate(person[:, :3]):
            if score > 0:
                person[k, :2] = between_neighbours(heatmaps[0, k], int(x), int(y))


def between_neighbours(heatmap: Tensor | FloatArray, x: int, y: int) -> tuple[float, float]:
    """The pixel's centre, a quarter pixel to the higher side on both axes; ties go to the lower."""
    height, width = heatmap.shape
    right = heatmap[y, min(x + 1, width - 1)] > heatmap[y, max(x - 1, 0)]
    below = heatmap[min(y + 1, height - 1), x] > heatmap[max(y - 1, 0), x]
    return x + 0.5 + (0.25 if right else -0.25), y + 0.5 + (0.25 if below else -0.25)


def refine_person(person: FloatArray, heatmaps: FloatArray, tags: FloatArray) -> None:
    """Fill a person's missing keypoints, in place; all K maps are searched, missing or not.

    Args:
        person: (K, 3 + T); the tags of keypoints filled in stay 0.
        heatmaps: (K, H, W).
        tags: (K, H, W, T).
    """
    own = [tags[k, int(y), int(x)] for k, (x, y, score) in enumerate(person[:, :3]) if score > 0]
    own_mean = np.mean(own, axis=0)
    found = []
    for heatmap, tag in zip(heatmaps, tags, strict=True):
        distance = ((tag - own_mean) ** 2).sum(axis=2) ** 0.5
        best = np.unravel_index(np.argmax(heatmap - np.round(distance)), heatmap.shape)
        found.append((*between_neighbours(heatmap, int(best[1]), int(best[0])), heatmap[best]))
    for k, (x, y, score) in enumerate(found):
        if score > 0 and person[k, 2] == 0:
            person[k, :3] = x, y, score
