"""Heatmaps and tags as pictures: where and whose. Images are RGB uint8 (H, W, 3)."""

from __future__ import annotations

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.errors import InputError
from higherhrnet.skeleton import Skeleton
from higherhrnet.visualization.poses import Color, checked

BACKGROUND_COLOR: Color = (22, 22, 27)
TEXT_COLOR: Color = (225, 225, 230)
TILE_SIZE = 240
"""Pixels of a tile's longer side on the sheet of maps."""
GAP, CAPTION = 8, 22  # pixels between tiles, and above each for its name
MIN_HEAT = 0.1
"""Tags mean something only where a heatmap is above this, as decoding has it."""
MIN_TAG_SPAN = 1.0
"""Tags nearer than this are one person to the decoder, so they never get the whole rainbow."""


def draw_heatmaps(image: Image, heatmaps: FloatArray) -> Image:
    """The dimmed photograph, aglow where any of the heatmaps (K, h, w), about 0 to 1, is high.

    The maps may have any resolution, but must cover just what the photograph covers.
    """
    height, width = checked(image).shape[:2]
    heat = cv2.resize(heatmaps.max(0).clip(0, 1), (width, height), interpolation=cv2.INTER_LINEAR)
    # The colormap is black at 0, so it is light to add, not paint to mix in.
    glow = _coloured(heat, cv2.COLORMAP_INFERNO)
    return _to_uint8(_dimmed(image) * (1 - heat[..., None]) + glow)


def draw_tags(image: Image, heatmaps: FloatArray, tags: FloatArray) -> Image:
    """The dimmed photograph with the tags as colours where a heatmap is high: whose is whose.

    Each pixel has the tag of the keypoint whose heatmap is highest there.

    Args:
        image: (H, W, 3) RGB uint8.
        heatmaps: (K, h, w), about 0 to 1, covering just what the photograph covers.
        tags: (K, h, w) or (K, h, w, T); or one map for all keypoints, (1, h, w) or (1, h, w, T).

    Raises:
        InputError: the shapes do not belong together.
    """
    height, width = checked(image).shape[:2]
    _check_maps(heatmaps, tags)
    highest, heat = heatmaps.argmax(0), heatmaps.max(0)
    rows, columns = np.indices(heat.shape)
    chosen = tags[highest if len(tags) > 1 else 0, rows, columns]  # (h, w) or (h, w, T)
    values = _along_main_axis(chosen.reshape(*heat.shape, -1), heat)
    # Edges follow the smooth heatmap; tags between two people's are nobody's, so not interpolated.
    smooth = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    cells = _coloured(values, cv2.COLORMAP_TURBO)
    colors = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    alpha = ((smooth - MIN_HEAT) / MIN_HEAT).clip(0, 1)[..., None]
    return _to_uint8(_dimmed(image) * (1 - alpha) + colors * alpha)


def draw_maps(image: Image, heatmaps: FloatArray, tags: FloatArray, skeleton: Skeleton) -> Image:
    """A sheet that shows what the network sees: all heatmaps, the tags, and a tile a keypoint.

    Image, heatmaps and tags are as for `draw_tags`; the skeleton names the K keypoints.

    Raises:
        InputError: the shapes do not belong together.
    """
    _check_maps(heatmaps, tags)
    if len(heatmaps) != len(skeleton):
        given = f"the skeleton {skeleton.name} has {len(skeleton)} keypoints"
        raise InputError(f"{given}, but there are {len(heatmaps)} heatmaps")
    columns = 6 if len(skeleton) > 8 else 4
    half = columns // 2 * (TILE_SIZE + GAP) - GAP
    large, small = _fitted(image, half), _fitted(image, TILE_SIZE)
    tiles = [
        _captioned(draw_heatmaps(small, heatmap[None]), f"{name}  {heatmap.max():.2f}", TILE_SIZE)
        for name, heatmap in zip(skeleton.names, heatmaps, strict=True)
    ]
    tiles += [np.full_like(tiles[0], BACKGROUND_COLOR)] * (-len(tiles) % columns)
    where = _captioned(draw_heatmaps(large, heatmaps), "heatmaps: where", half)
    whose = _captioned(draw_tags(large, heatmaps, tags), "tags: whose", half)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return np.vstack([np.hstack(row) for row in ([where, whose], *rows)])


def _along_main_axis(tags: FloatArray, heat: FloatArray) -> FloatArray:
    """(h, w, T) tags → (h, w) from 0 to 1 along the direction in which people differ most."""
    seen = tags[heat > MIN_HEAT]
    if not len(seen):
        return np.zeros_like(heat)
    center = seen.mean(0)
    axis = np.linalg.eigh((seen - center).T @ (seen - center))[1][:, -1]
    low, high = np.percentile((seen - center) @ axis, (1, 99))
    span = max(high - low, MIN_TAG_SPAN)
    values = ((tags - center) @ axis - (low + high) / 2) / span + 0.5
    return np.asarray(0.1 + 0.8 * values.clip(0, 1), np.float32)  # the colormap's ends are dark


def _coloured(values: FloatArray, colormap: int) -> Image:
    """(H, W) from 0 to 1 → RGB."""
    bgr = cv2.applyColorMap(_to_uint8(values * 255), colormap)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _dimmed(image: Image) -> FloatArray:
    """A darker grey photograph in three channels, on which colours stand out."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.repeat(gray[..., None] * np.float32(0.4), 3, 2)


def _fitted(image: Image, side: int) -> Image:
    """The image resized so that its longer side is `side` pixels."""
    height, width = checked(image).shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _captioned(picture: Image, text: str, width: int) -> Image:
    """The picture in the middle of `width` pixels and a margin, under a line of text."""
    spare = width - picture.shape[1]
    sides = CAPTION, GAP, (GAP + spare) // 2, (GAP + spare + 1) // 2
    framed = cv2.copyMakeBorder(picture, *sides, cv2.BORDER_CONSTANT, value=BACKGROUND_COLOR)
    place, font = (GAP // 2 + 2, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(framed, text.replace("_", " "), place, font, 0.45, TEXT_COLOR, 1, cv2.LINE_AA)
    return np.asarray(framed, np.uint8)


def _to_uint8(picture: FloatArray) -> Image:
    return np.asarray(picture.round().clip(0, 255), np.uint8)


def _check_maps(heatmaps: FloatArray, tags: FloatArray) -> None:
    shapes = heatmaps.ndim == 3 and heatmaps.size and tags.ndim in (3, 4) and tags.size
    if not shapes or tags.shape[:3] not in {heatmaps.shape, (1, *heatmaps.shape[1:])}:
        raise InputError(
            "heatmaps must be (K, h, w) and tags (K or 1, h, w) or (K or 1, h, w, T), "
            f"not {heatmaps.shape} and {tags.shape}"
        )
