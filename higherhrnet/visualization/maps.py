"""Draws the maps of a network on an image."""

from __future__ import annotations

import cv2
import numpy as np

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.errors import InputError
from higherhrnet.io.images import require_rgb
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.visualization.heat import apply_colormap, darkened, to_uint8
from higherhrnet.visualization.heat import draw_heatmaps as draw_heatmaps
from higherhrnet.visualization.offsets import draw_field, draw_offsets, require_offsets
from higherhrnet.visualization.poses import Color

BACKGROUND_COLOR: Color = (22, 22, 27)
TEXT_COLOR: Color = (225, 225, 230)
TILE_SIZE = 240
"""The longer side in pixels of one keypoint's heatmap in `draw_maps`."""
TILE_GAP = 8
"""Pixels between tiles."""
CAPTION_HEIGHT = 22
"""Pixels above each tile for its name."""
MIN_HEATMAP_VALUE = 0.1
"""Tags are drawn where a heatmap exceeds this value, the threshold of decoding."""
MIN_TAG_RANGE = 1.0
"""The minimum range of tags that spans the colormap: the grouping assigns tags that differ by less
to the same person."""


def draw_tags(image: Image, heatmaps: FloatArray, tags: FloatArray) -> Image:
    """Draws tags as colors on a darkened gray copy of an image, where a heatmap is high.

    Each pixel has the color of the tag of the keypoint whose heatmap is highest there. Keypoints of
    one person have similar colors.

    Args:
        image: (H, W, 3) RGB.
        heatmaps: (K, h, w), about 0 to 1; they cover the same area as the image.
        tags: (K, h, w) or (K, h, w, T); or one map for all keypoints, (1, h, w) or (1, h, w, T).

    Returns:
        (H, W, 3) RGB.

    Raises:
        InputError: the image is not a uint8 array of shape (H, W, 3), or the shapes of heatmaps
            and tags do not match.
    """
    require_rgb(image)
    height, width = image.shape[:2]
    _check_shapes(heatmaps, tags)
    highest, heat = heatmaps.argmax(0), heatmaps.max(0)
    rows, columns = np.indices(heat.shape)
    selected = tags[highest if len(tags) > 1 else 0, rows, columns]  # (h, w) or (h, w, T)
    values = _project_to_main_axis(selected.reshape(*heat.shape, -1), heat)
    # The edges follow the interpolated heatmap. Tags are not interpolated, since a value between
    # the tags of two people is the tag of neither.
    smooth = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    cells = apply_colormap(values, cv2.COLORMAP_TURBO)
    colors = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    alpha = ((smooth - MIN_HEATMAP_VALUE) / MIN_HEATMAP_VALUE).clip(0, 1)[..., None]
    return to_uint8(darkened(image) * (1 - alpha) + colors * alpha)


def draw_overlays(
    image: Image,
    heatmaps: FloatArray,
    tags: FloatArray | None = None,
    centers: FloatArray | None = None,
    offsets: FloatArray | None = None,
) -> dict[str, Image]:
    """Draws each kind of map of a network on a copy of an image.

    Args:
        image: (H, W, 3) RGB.
        heatmaps: (K, h, w), about 0 to 1; they cover the same area as the image.
        tags: see `draw_tags`; None if the network predicts no tags.
        centers: (h, w) center heatmap; None if the network predicts no offsets.
        offsets: see `draw_offsets`; None if the network predicts no offsets.

    Returns:
        (H, W, 3) RGB images by the name of the maps: `heatmaps`, and `tags` or `offsets`.

    Raises:
        InputError: the image is not a uint8 array of shape (H, W, 3), or the shapes of the maps do
            not match.
    """
    overlays = {"heatmaps": draw_heatmaps(image, heatmaps)}
    if tags is not None:
        overlays["tags"] = draw_tags(image, heatmaps, tags)
    if centers is not None and offsets is not None:
        overlays["offsets"] = draw_offsets(image, centers, offsets)
    return overlays


def draw_maps(
    image: Image,
    heatmaps: FloatArray,
    tags: FloatArray | None,
    skeleton: Skeleton,
    *,
    centers: FloatArray | None = None,
    offsets: FloatArray | None = None,
) -> Image:
    """Draws all maps side by side: the heatmaps, the tags or offsets, and each keypoint's heatmap.

    Offsets are drawn as arrows: from the center of each person to the keypoints, and with the
    heatmap of each keypoint from the cells around the centers.

    Args:
        image: (H, W, 3) RGB.
        heatmaps: (K, h, w), about 0 to 1; they cover the same area as the image.
        tags: (K, h, w) or (K, h, w, T); or one map for all keypoints, (1, h, w) or (1, h, w, T).
            None if the network predicts no tags.
        skeleton: names the K keypoints.
        centers: (h, w) center heatmap; None if the network predicts no offsets.
        offsets: (2K, h, w) offsets in cells, for each keypoint x, then y.

    Returns:
        (height, width, 3) RGB; its size depends only on the aspect ratio of the image and on K.

    Raises:
        InputError: the image is not a uint8 array of shape (H, W, 3), or the shapes of heatmaps,
            tags and skeleton do not match.
    """
    require_rgb(image)
    _check_shapes(heatmaps, heatmaps if tags is None else tags)
    if len(heatmaps) != len(skeleton):
        raise InputError(
            f"the skeleton {skeleton.name} has {len(skeleton)} keypoints, but there are "
            f"{len(heatmaps)} heatmaps"
        )
    columns = 6 if len(skeleton) > 8 else 4
    half_width = columns // 2 * (TILE_SIZE + TILE_GAP) - TILE_GAP
    large, small = _resize_to(image, half_width), _resize_to(image, TILE_SIZE)
    drawings = [draw_heatmaps(small, heatmap[None]) for heatmap in heatmaps]
    if centers is not None and offsets is not None:
        require_offsets(centers, offsets)
        for keypoint, drawing in enumerate(drawings):
            draw_field(drawing, centers, offsets[2 * keypoint : 2 * keypoint + 2])
    tiles = [
        _add_caption(drawing, f"{name}  {heatmap.max():.2f}", TILE_SIZE)
        for name, heatmap, drawing in zip(skeleton.names, heatmaps, drawings, strict=True)
    ]
    tiles += [np.full_like(tiles[0], BACKGROUND_COLOR)] * (-len(tiles) % columns)
    overlays = draw_overlays(large, heatmaps, tags, centers, offsets)
    all_maps = [_add_caption(drawing, name, half_width) for name, drawing in overlays.items()]
    all_maps += [np.full_like(all_maps[0], BACKGROUND_COLOR)] * (-len(all_maps) % 2)
    rows = [all_maps[i : i + 2] for i in range(0, len(all_maps), 2)]
    rows += [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return np.vstack([np.hstack(row) for row in rows])


def _project_to_main_axis(tags: FloatArray, heat: FloatArray) -> FloatArray:
    """Reduces (h, w, T) tags to (h, w) values from 0 to 1 along the axis of greatest variance."""
    relevant = tags[heat > MIN_HEATMAP_VALUE]
    if not len(relevant):
        return np.zeros_like(heat)
    center = relevant.mean(0)
    axis = np.linalg.eigh((relevant - center).T @ (relevant - center))[1][:, -1]
    low, high = np.percentile((relevant - center) @ axis, (1, 99))
    tag_range = max(high - low, MIN_TAG_RANGE)
    values = ((tags - center) @ axis - (low + high) / 2) / tag_range + 0.5
    return np.asarray(0.1 + 0.8 * values.clip(0, 1), np.float32)  # the colormap's ends are dark


def _resize_to(image: Image, longer_side: int) -> Image:
    """Resizes an image so that its longer side has the given number of pixels."""
    height, width = image.shape[:2]
    scale = longer_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _add_caption(image: Image, text: str, width: int) -> Image:
    """Adds a caption and margins to an image.

    The image is centered in `width` pixels, with half a gap on each side.
    """
    spare = width - image.shape[1]
    borders = CAPTION_HEIGHT, TILE_GAP, (TILE_GAP + spare) // 2, (TILE_GAP + spare + 1) // 2
    framed = cv2.copyMakeBorder(image, *borders, cv2.BORDER_CONSTANT, value=BACKGROUND_COLOR)
    origin, font = (TILE_GAP // 2 + 2, CAPTION_HEIGHT - 7), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(framed, text.replace("_", " "), origin, font, 0.45, TEXT_COLOR, 1, cv2.LINE_AA)
    return np.asarray(framed, np.uint8)


def _check_shapes(heatmaps: FloatArray, tags: FloatArray) -> None:
    valid = heatmaps.ndim == 3 and heatmaps.size and tags.ndim in (3, 4) and tags.size
    if not valid or tags.shape[:3] not in {heatmaps.shape, (1, *heatmaps.shape[1:])}:
        raise InputError(
            "heatmaps must have the shape (K, h, w), and tags (K or 1, h, w) or "
            f"(K or 1, h, w, T), not {heatmaps.shape} and {tags.shape}"
        )
