"""Poses on a picture. Images are RGB uint8 (H, W, 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.errors import InputError
from higherhrnet.poses import Poses

Color = tuple[int, int, int]

# Blue and orange stay apart in every common form of colour blindness. The people's colours keep
# away from both, and their neighbours differ in brightness too.
LEFT: Color = (48, 140, 255)
RIGHT: Color = (255, 140, 0)
MIDDLE: Color = (236, 236, 236)
OUTLINE: Color = (16, 16, 20)
PEOPLE: tuple[Color, ...] = (
    (255, 225, 60), (214, 44, 160), (60, 214, 120), (226, 40, 54), (170, 240, 240),
    (126, 60, 220), (200, 240, 40), (255, 160, 200), (0, 128, 110), (190, 170, 255),
)  # fmt: skip
HALO = 0.4
"""How much of the halo around a person covers the photograph."""

_SHIFT = 4  # OpenCV takes whole numbers of 1/16 pixel
_FAR = 1e6  # pixels; what lies further out would overflow OpenCV's integers


def draw(
    image: Image, poses: Poses, min_score: float = 0.0, min_keypoint_score: float = 0.2
) -> Image:
    """A copy of the photograph with the people drawn on it.

    Limbs have their body side's colour, `LEFT`, `RIGHT` or `MIDDLE`; the keypoints and a faint halo
    have the person's, from `PEOPLE` in turn. Lines are as wide as suits the photograph and person.
    People with tracks have their number above them, and its colour.

    Args:
        image: (H, W, 3) RGB uint8.
        poses: in the image's pixels; what lies outside the image is cut off.
        min_score: people below this are not drawn.
        min_keypoint_score: keypoints below this, and limbs that end there, are not drawn.

    Raises:
        InputError: the image is not (H, W, 3) uint8.
    """
    canvas = checked(image).copy()
    figures = _figures(poses.above(min_score), min_keypoint_score, *canvas.shape[:2])
    halo = canvas.copy()
    for figure in figures:
        lines = np.concatenate([figure.limbs, figure.discs])
        _strokes(halo, lines, figure.color, 4 * figure.width + 2)
    cv2.addWeighted(halo, HALO, canvas, 1 - HALO, 0, dst=canvas)
    for figure in figures:
        _draw_figure(canvas, figure)
    for figure in figures:
        _draw_number(canvas, figure)
    return canvas


@dataclass(frozen=True)
class _Figure:
    """One person as lines: what is shown of them, in pixels."""

    limbs: FloatArray  # (M, 2, 2)
    sides: NDArray[np.int_]  # (M,) as _side has it
    discs: FloatArray  # (N, 2, 2): a line of no length and round ends is a disc
    color: Color
    width: int
    number: int | None


def _figures(poses: Poses, min_score: float, height: int, width: int) -> list[_Figure]:
    scores = np.where(poses.keypoint_scores >= min_score, poses.keypoint_scores, 0)
    poses = replace(poses, keypoint_scores=scores)
    ends = np.array(poses.skeleton.limb_index, int).reshape(-1, 2)
    sides = np.array([_side(*limb) for limb in poses.skeleton.limbs], int)
    extents = poses.boxes[:, 2:].max(1)
    extents = np.where(extents > 0, extents, np.inf)  # a lone keypoint does not tell
    widest = math.sqrt(height * width) / 200  # pixels; people of few pixels get down to a third
    widths = (extents / 60).clip(widest / 3, widest).round().clip(2).astype(int)
    figures = []
    for person in np.argsort(-extents):  # small people last: large ones would hide them
        points, found = poses.keypoints[person], poses.found[person]
        drawn, discs = found[ends].all(1), points[found][:, None].repeat(2, 1)
        number = None if poses.track_ids is None else int(poses.track_ids[person])
        turn = person if number is None else number
        style = PEOPLE[turn % len(PEOPLE)], int(widths[person]), number
        figures.append(_Figure(points[ends[drawn]], sides[drawn], discs, *style))
    return figures


def _side(a: str, b: str) -> int:
    """-1 for a limb of the left side, 1 of the right, 0 of both or neither."""
    names = f"{a} {b}".lower()
    return ("right" in names) - ("left" in names)


def _draw_figure(canvas: Image, figure: _Figure) -> None:
    edge, size = 2 * max(1, round(figure.width / 4)), 2 * figure.width + 1
    _strokes(canvas, figure.limbs, OUTLINE, figure.width + edge)
    for side, color in ((0, MIDDLE), (-1, LEFT), (1, RIGHT)):
        _strokes(canvas, figure.limbs[figure.sides == side], color, figure.width)
    _strokes(canvas, figure.discs, OUTLINE, size + edge)
    _strokes(canvas, figure.discs, figure.color, size)


def _draw_number(canvas: Image, figure: _Figure) -> None:
    """Write a person's number above the highest keypoint, within the picture."""
    if figure.number is None or not len(figure.discs):
        return
    text, font, scale = str(figure.number), cv2.FONT_HERSHEY_SIMPLEX, 0.3 + figure.width / 10
    (width, height), _ = cv2.getTextSize(text, font, scale, figure.width)
    top = figure.discs[:, 0][figure.discs[:, 0, 1].argmin()]
    corner = top - np.array([width / 2, 4 * figure.width])
    x, y = corner.clip((0, height), (canvas.shape[1] - width, canvas.shape[0])).astype(int)
    for color, thickness in ((OUTLINE, figure.width + 2), (figure.color, figure.width)):
        cv2.putText(canvas, text, (int(x), int(y)), font, scale, color, thickness, cv2.LINE_AA)


def _strokes(canvas: Image, lines: FloatArray, color: Color, width: int) -> None:
    """Draw (M, 2, 2) lines with round ends, antialiased and placed to 1/16 pixel."""
    fixed = np.rint(lines.clip(-_FAR, _FAR) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(canvas, list(fixed), False, color, width, cv2.LINE_AA, _SHIFT)


def checked(image: Image) -> Image:
    """The image itself.

    Raises:
        InputError: it is not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise InputError(f"an image must be RGB uint8 (H, W, 3), not {image.dtype} {image.shape}")
    return image
