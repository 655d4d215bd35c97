"""Draws poses on an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.io.images import ImageSource, read_image, require_rgb, write_image
from higherhrnet.poses.poses import Poses

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

# Blue and orange are distinguishable with every common form of color blindness. The colors of
# people differ from both, and consecutive ones differ in brightness, too.
LEFT_COLOR: Color = (48, 140, 255)
"""The color of limbs of the left side of the body."""
RIGHT_COLOR: Color = (255, 140, 0)
"""The color of limbs of the right side of the body."""
CENTER_COLOR: Color = (236, 236, 236)
"""The color of limbs between both sides or of neither."""
OUTLINE_COLOR: Color = (16, 16, 20)
PERSON_COLORS: tuple[Color, ...] = (
    (255, 225, 60), (214, 44, 160), (60, 214, 120), (226, 40, 54), (170, 240, 240),
    (126, 60, 220), (200, 240, 40), (255, 160, 200), (0, 128, 110), (190, 170, 255),
)  # fmt: skip
"""The colors of the keypoints and halos of people, used in turn."""
HALO_OPACITY = 0.4
"""The opacity of the halo around a person, 0 to 1."""
FINE_FROM = 40
"""Number of keypoints from which a skeleton, such as COCO-WholeBody's, is drawn in thinner lines,
since its keypoints on faces and hands would cover each other."""

_FRACTION_BITS = 4  # OpenCV takes coordinates as integers, in units of 2⁻⁴ pixels
_MAX_COORDINATE = 1e6  # pixels; greater values would overflow OpenCV's integers


def draw(
    image: ImageSource,
    poses: Poses,
    min_score: float = 0.0,
    min_keypoint_score: float = 0.2,
    *,
    path: str | Path | None = None,
) -> Image:
    """Draws poses on a copy of an image.

    Limbs have the color of their side of the body: `LEFT_COLOR`, `RIGHT_COLOR` or `CENTER_COLOR`.
    Keypoints and a translucent halo have the person's color, from `PERSON_COLORS` in turn. The line
    width depends on the size of the image and of the person. If the poses have track IDs, each
    person's track ID is drawn above the person and determines the person's color.

    Args:
        image: a (H, W, 3) RGB array, or another source that `read_image` reads.
        poses: the poses in pixels of the image; parts outside the image are not drawn.
        min_score: people with a lower score are not drawn.
        min_keypoint_score: keypoints with a lower score are not drawn, nor are limbs that end
            there.
        path: the drawing is also written to this file, in the format of its suffix.

    Returns:
        (H, W, 3) RGB.

    Raises:
        InputError: the image is an array of another shape or type, or cannot be read, or the file
            cannot be written.
    """
    array = image if isinstance(image, np.ndarray) else read_image(image)
    require_rgb(array)
    canvas = draw_onto(array.copy(), poses, min_score, min_keypoint_score)
    if path is not None:
        write_image(path, canvas)
    return canvas


def draw_onto(
    image: Image, poses: Poses, min_score: float = 0.0, min_keypoint_score: float = 0.2
) -> Image:
    """Draws poses on an image itself, as `draw` does on a copy.

    Args:
        image: (H, W, 3) RGB, which is changed unless it is read-only.
        poses: as in `draw`.
        min_score: as in `draw`.
        min_keypoint_score: as in `draw`.

    Returns:
        The image, or its copy if it is read-only.
    """
    canvas = image if image.flags.writeable else image.copy()
    people = _drawn_people(poses.above(min_score), min_keypoint_score, *canvas.shape[:2])
    _blend_halos(canvas, people)
    for person in people:
        _draw_person(canvas, person)
    for person in people:
        _draw_track_id(canvas, person)
    return canvas


@dataclass(frozen=True)
class _DrawnPerson:
    """The lines, in pixels, that are drawn for one person."""

    limbs: FloatArray  # (M, 2, 2)
    sides: NDArray[np.int_]  # (M,) see `_side`
    keypoints: FloatArray  # (N, 2, 2) lines of length 0, whose round ends make a disc
    color: Color
    line_width: int
    disc_width: int  # the diameter of keypoints
    track_id: int | None


def _drawn_people(
    poses: Poses, min_keypoint_score: float, height: int, width: int
) -> list[_DrawnPerson]:
    """Returns the people in drawing order: small people last, since large ones would hide them."""
    scores = poses.keypoint_scores
    poses = replace(poses, keypoint_scores=np.where(scores >= min_keypoint_score, scores, 0))
    ends = np.array(poses.skeleton.limb_index, int).reshape(-1, 2)
    sides = np.array([_side(*limb) for limb in poses.skeleton.limbs], int)
    extents = poses.boxes[:, 2:].max(1)
    extents = np.where(extents > 0, extents, np.inf)  # a single keypoint has no extent
    max_width = math.sqrt(height * width) / 200
    line_widths = (extents / 60).clip(max_width / 3, max_width).round().clip(2).astype(int)
    if fine := len(poses.skeleton) >= FINE_FROM:
        line_widths = (line_widths / 3).round().clip(1).astype(int)
    people = []
    for index in np.argsort(-extents):
        points, found = poses.keypoints[index], poses.found[index]
        has_both_ends = found[ends].all(1)
        track_id = None if poses.track_ids is None else int(poses.track_ids[index])
        people.append(
            _DrawnPerson(
                limbs=points[ends[has_both_ends]],
                sides=sides[has_both_ends],
                keypoints=points[found][:, None].repeat(2, 1),
                color=PERSON_COLORS[(index if track_id is None else track_id) % len(PERSON_COLORS)],
                line_width=int(line_widths[index]),
                disc_width=int(line_widths[index]) * (1 if fine else 2) + 1,
                track_id=track_id,
            )
        )
    return people


def _side(a: str, b: str) -> int:
    """Returns the side of the limb between two keypoints: -1 left, 1 right, 0 both or neither."""
    names = f"{a} {b}".lower()
    return ("right" in names) - ("left" in names)


def _blend_halos(canvas: Image, people: Sequence[_DrawnPerson]) -> None:
    """Blends the halos of people into the part of the canvas that contains them."""
    halos = [
        (np.concatenate([person.limbs, person.keypoints]), 4 * person.line_width + 2, person.color)
        for person in people
    ]
    height, width = canvas.shape[:2]
    boxes = [
        np.concatenate([lines.min((0, 1)) - margin, lines.max((0, 1)) + margin])
        for lines, margin, _ in halos
        if len(lines)
    ]
    if not boxes:
        return
    limits = np.array([width, height, width, height])
    left, top, _, _ = np.floor(np.min(boxes, axis=0)).clip(0, limits).astype(int)
    _, _, right, bottom = np.ceil(np.max(boxes, axis=0)).clip(0, limits).astype(int)
    if left >= right or top >= bottom:
        return
    part = canvas[top:bottom, left:right]
    blended = part.copy()
    for lines, line_width, color in halos:
        _draw_lines(blended, lines - np.array([left, top], np.float32), color, line_width)
    cv2.addWeighted(blended, HALO_OPACITY, part, 1 - HALO_OPACITY, 0, dst=part)


def _draw_person(canvas: Image, person: _DrawnPerson) -> None:
    outline = 2 * max(1, round(person.line_width / 4))
    _draw_lines(canvas, person.limbs, OUTLINE_COLOR, person.line_width + outline)
    for side, color in ((0, CENTER_COLOR), (-1, LEFT_COLOR), (1, RIGHT_COLOR)):
        _draw_lines(canvas, person.limbs[person.sides == side], color, person.line_width)
    if person.disc_width > person.line_width + 1:
        _draw_lines(canvas, person.keypoints, OUTLINE_COLOR, person.disc_width + outline)
    _draw_lines(canvas, person.keypoints, person.color, person.disc_width)


def _draw_track_id(canvas: Image, person: _DrawnPerson) -> None:
    """Draws a person's track ID above the highest keypoint, but within the image."""
    if person.track_id is None or not len(person.keypoints):
        return
    text, font = str(person.track_id), cv2.FONT_HERSHEY_SIMPLEX
    scale = 0.3 + person.line_width / 10
    (width, height), _ = cv2.getTextSize(text, font, scale, person.line_width)
    points = person.keypoints[:, 0]
    highest = points[points[:, 1].argmin()]
    corner = highest - np.array([width / 2, 4 * person.line_width])
    x, y = corner.clip((0, height), (canvas.shape[1] - width, canvas.shape[0])).astype(int)
    outline = person.line_width + 2
    for color, thickness in ((OUTLINE_COLOR, outline), (person.color, person.line_width)):
        cv2.putText(canvas, text, (int(x), int(y)), font, scale, color, thickness, cv2.LINE_AA)


def _draw_lines(canvas: Image, lines: FloatArray, color: Color, width: int) -> None:
    """Draws (M, 2, 2) antialiased lines with round ends and subpixel coordinates."""
    clipped = lines.clip(-_MAX_COORDINATE, _MAX_COORDINATE)
    fixed = np.rint(clipped * 2**_FRACTION_BITS).astype(np.int32)
    cv2.polylines(canvas, list(fixed), False, color, width, cv2.LINE_AA, _FRACTION_BITS)
