"""Synthetic people: joint angles → points of the body in 3D → convex parts that can be painted.

The x axis points to the viewer's right, y points down and z points toward the viewer. Lengths are
in body heights, and the origin is the center of the hips. The left side of a body that faces the
viewer is on the viewer's right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from higherhrnet.arrays import DoubleArray, IndexArray

_SIDES = ("left", "right")
_LIMB_POINTS = ("elbow", "wrist", "hand", "knee", "ankle", "toe")
# The distance of each point of `_LIMB_POINTS` from the previous one, or from the shoulder or hip.
_LENGTHS = np.array([0.165, 0.15, 0.045, 0.235, 0.23, 0.07])
_TORSO = {
    "left_shoulder": (0.11, -0.29, 0), "right_shoulder": (-0.11, -0.29, 0),
    "left_hip": (0.06, 0, 0), "right_hip": (-0.06, 0, 0),
    "neck": (0, -0.31, 0), "chest": (0, -0.23, 0.05), "belly": (0, -0.02, 0.05),
}  # fmt: skip
_HEAD = {
    "nose": (0, -0.4, 0.08), "left_eye": (0.028, -0.43, 0.066), "right_eye": (-0.028, -0.43, 0.066),
    "left_ear": (0.07, -0.415, -0.005), "right_ear": (-0.07, -0.415, -0.005),
    "head": (0, -0.485, 0), "hair": (0, -0.43, -0.012), "face": (0, -0.412, 0.02),
    "chin": (0, -0.385, 0.03),
}  # fmt: skip
POINTS = (*(f"{side}_{name}" for side in _SIDES for name in _LIMB_POINTS), *_TORSO, *_HEAD)
"""The points of a body: the keypoints of COCO and CrowdPose, and others that shape parts."""

_HULL_CORNERS = 24
"""Number of corners of a painted part."""

# Minimum and maximum angles in degrees: of the upper arm forward and outward, of the elbow, and of
# the forearm outward.
_ARMS = np.array([
    [(-20, 25), (4, 22), (0, 40), (-15, 10)],  # hanging
    [(-30, 40), (8, 45), (50, 125), (-45, 0)],  # bent
    [(-15, 15), (55, 120), (0, 30), (-20, 70)],  # sideways
    [(-10, 20), (125, 170), (0, 30), (-20, 60)],  # up
    [(50, 160), (0, 30), (0, 60), (-30, 10)],  # forward
])  # fmt: skip
# Minimum and maximum angles in degrees, for each of the legs: of the thigh forward and outward, and
# of the knee.
_LEGS = np.array([
    [[(-6, 8), (2, 10), (0, 8)], [(-6, 8), (2, 10), (0, 8)]],  # standing
    [[(10, 40), (1, 6), (0, 25)], [(-35, -5), (1, 6), (5, 55)]],  # walking
    [[(60, 90), (2, 22), (60, 100)], [(60, 90), (2, 22), (60, 100)]],  # sitting
    [[(-10, 20), (12, 35), (0, 35)], [(-10, 20), (12, 35), (0, 35)]],  # legs apart
    [[(20, 90), (0, 15), (20, 110)], [(-6, 8), (0, 8), (0, 8)]],  # one knee up
])  # fmt: skip


class Part(NamedTuple):
    """A part of a body: the convex hull of up to four discs, in one color."""

    discs: dict[str, float]
    """The point at the center of each disc, and the radius in body heights."""
    color: str
    """One of `COLORS`."""
    brightness: float
    """Factor of the color."""
    depth_offset: float = 0.0
    """Offset of the depth that determines the painting order; parts with a larger depth are painted
    later."""


def _side_parts(side: str) -> tuple[Part, ...]:
    def part(brightness: float, depth_offset: float, **discs: float) -> Part:
        named = {f"{side}_{name}": radius for name, radius in discs.items()}
        return Part(named, side, brightness, depth_offset)

    return (
        part(1.0, 0.02, shoulder=0.037, elbow=0.028),
        part(0.72, 0.021, elbow=0.027, wrist=0.02),
        part(0.62, 0.011, hip=0.052, knee=0.037),
        part(0.95, 0.01, knee=0.035, ankle=0.025),
        part(0.4, 0.009, ankle=0.024, toe=0.02),
        part(0.8, 0.04, ear=0.018),
        part(0.5, 0.03, eye=0.014),
        Part({f"{side}_wrist": 0.018, f"{side}_hand": 0.026}, "skin", 0.95, 0.015),
    )


PARTS = (
    *_side_parts("left"),
    *_side_parts("right"),
    Part({f"{s}_{p}": 0.042 for s in _SIDES for p in ("shoulder", "hip")}, "shirt", 1.0),
    Part({"chest": 0.016, "belly": 0.016}, "shirt", 0.5),
    Part({"neck": 0.03, "chin": 0.02}, "skin", 0.85, 0.01),
    Part({"face": 0.058, "chin": 0.042}, "skin", 1.0, 0.03),
    Part({"hair": 0.07, "head": 0.025}, "hair", 1.0, 0.03),
    Part({"nose": 0.014}, "skin", 0.6, 0.045),
)
"""The parts of a body."""

COLORS = ("left", "right", "skin", "hair", "shirt")

_DISCS = [(list(part.discs) * 4)[:4] for part in PARTS]
_CENTERS = np.array([[POINTS.index(name) for name in discs] for discs in _DISCS])
_RADII = np.array([[p.discs[name] for name in d] for p, d in zip(PARTS, _DISCS, strict=True)])
SHOWN_POINTS = np.array([[name in part.discs for name in POINTS] for part in PARTS])
"""(len(PARTS), len(POINTS)) whether a point is visible where the part is visible."""
_COLOR_INDEX = np.array([COLORS.index(part.color) for part in PARTS])
_BRIGHTNESS = np.array([part.brightness for part in PARTS])
_DEPTH_OFFSET = np.array([part.depth_offset for part in PARTS])
_MIN_RADIUS = 0.6  # pixels; a smaller disc may cover no pixel


class SyntheticPeople(NamedTuple):
    """P people that can be painted."""

    bodies: DoubleArray
    """(P, len(POINTS), 3) the positions of the points, in pixels."""
    heights: DoubleArray
    """(P,) the height of each person when standing upright, in pixels."""
    colors: DoubleArray
    """(P, len(COLORS), 3) RGB values, 0 to 255."""


def sample_people(
    rng: np.random.Generator, hips: DoubleArray, heights: DoubleArray, side_colors: bool = True
) -> SyntheticPeople:
    """Samples people who stand, walk, sit or raise their arms, seen from random directions.

    Args:
        rng: the source of random numbers.
        hips: (P, 2) the centers of their hips, in pixels.
        heights: (P,) the height of each person when standing upright, in pixels.
        side_colors: whether left limbs are always reddish and right limbs bluish; False: the two
            are exchanged at random for each person.
    """
    count = len(heights)
    bodies = _sample_bodies(rng, count) * heights[:, None, None]
    bodies[..., :2] += hips[:, None]
    colors = _sample_colors(rng, count)
    swapped = (rng.random(count) < 0.5) & (not side_colors)
    colors[swapped, :2] = colors[swapped, 1::-1]
    return SyntheticPeople(bodies, heights, colors)


def _sample_bodies(rng: np.random.Generator, count: int) -> DoubleArray:
    """Samples the points of bodies, (P, len(POINTS), 3), in body heights."""
    torso = np.broadcast_to(list(_TORSO.values()), (count, len(_TORSO), 3))
    head = np.array(list(_HEAD.values())) @ _rotation(1, rng.normal(0, 20, count))
    bodies = np.concatenate([_sample_limbs(rng, count), torso, head], 1)
    facing = rng.choice([0, 0, 0, 180, 90, -90], count) + rng.normal(0, 25, count)
    from_above, leaning = rng.uniform(-18, 0, count), rng.normal(0, 8, count)
    turned: DoubleArray = (
        bodies @ _rotation(1, facing) @ _rotation(0, from_above) @ _rotation(2, leaning)
    )
    return turned


def _sample_limbs(rng: np.random.Generator, count: int) -> DoubleArray:
    """Samples the points of arms and legs, (P, 12, 3), of bodies that face the viewer."""
    arms = rng.uniform(*np.moveaxis(_ARMS[rng.integers(len(_ARMS), size=(count, 2))], -1, 0))
    legs = rng.uniform(*np.moveaxis(_LEGS[rng.integers(len(_LEGS), size=count)], -1, 0))
    legs = np.where(rng.random((count, 1, 1)) < 0.5, legs, legs[:, ::-1])
    (arm, arm_out, elbow, forearm_out), (thigh, thigh_out, knee) = arms.T, legs.T
    forward = [arm, arm + elbow, arm + elbow, thigh, thigh - knee, thigh - knee + 80]
    forearm_out = arm_out + forearm_out
    outward = [arm_out, forearm_out, forearm_out, thigh_out, thigh_out / 2, thigh_out + 8]
    f, o = np.radians(np.array(forward).T), np.radians(np.array(outward).T)  # (P, 2, 6)
    side = np.array([[1.0], [-1.0]])
    steps = np.stack([side * np.sin(o), np.cos(o) * np.cos(f), np.cos(o) * np.sin(f)], -1)
    steps = (steps * _LENGTHS[:, None]).reshape(count, 2, 2, 3, 3)  # side, limb, segment, axis
    starts = np.array([[_TORSO[f"{s}_shoulder"], _TORSO[f"{s}_hip"]] for s in _SIDES])
    points: DoubleArray = starts[:, :, None] + steps.cumsum(3)
    return points.reshape(count, 12, 3)


def _rotation(axis: int, degrees: DoubleArray) -> DoubleArray:
    """Computes the (P, 3, 3) matrices that rotate row vectors about the x, y or z axis."""
    a, b = [i for i in range(3) if i != axis]
    matrices = np.tile(np.eye(3), (len(degrees), 1, 1))
    matrices[:, a, a] = matrices[:, b, b] = np.cos(np.radians(degrees))
    matrices[:, a, b] = np.sin(np.radians(degrees))
    matrices[:, b, a] = -matrices[:, a, b]
    return matrices


def _sample_colors(rng: np.random.Generator, count: int) -> DoubleArray:
    """Samples colors, (P, len(COLORS), 3): red for left, blue for right, any color for shirts."""
    darkest = np.array([(175, 30, 20), (20, 50, 175), (90, 55, 40), (15, 12, 10), (70, 100, 60)])
    extent = np.array(
        [(80, 65, 55), (60, 90, 80), (160, 155, 145), (155, 108, 50), (160, 130, 110)]
    )
    fraction = rng.random((count, len(COLORS), 1)) + rng.normal(0, 0.1, (count, len(COLORS), 3))
    colors: DoubleArray = darkest + fraction.clip(0, 1) * extent
    return colors


def part_polygons(people: SyntheticPeople) -> tuple[DoubleArray, DoubleArray, IndexArray]:
    """Computes the parts of the people as polygons, for each person from far to near.

    Returns:
        (P, Q, N, 2) corners in pixels, (P, Q, 3) RGB colors, and (P, Q) indices into `PARTS`.
    """
    heights = people.heights[:, None]
    centers = people.bodies[:, _CENTERS]  # (P, Q, D, 3)
    depth = centers[..., 2].mean(-1) / heights
    order = np.argsort(depth + _DEPTH_OFFSET, 1)
    radii = np.maximum(_RADII * heights[..., None], _MIN_RADIUS)
    light = _BRIGHTNESS * (1 + 0.5 * depth.clip(-0.4, 0.4))  # near parts are lighter
    colors = (people.colors[:, _COLOR_INDEX] * light[..., None]).clip(0, 255)
    rows = np.arange(len(order))[:, None]
    return convex_hulls(centers[..., :2], radii)[rows, order], colors[rows, order], order


def convex_hulls(centers: DoubleArray, radii: DoubleArray) -> DoubleArray:
    """Computes the convex hulls of discs, as the farthest points in 24 directions.

    Args:
        centers: (..., D, 2) centers of the discs.
        radii: (..., D) radii of the discs.

    Returns:
        (..., 24, 2) corners.
    """
    angles = np.arange(_HULL_CORNERS) * (2 * np.pi / _HULL_CORNERS)
    directions = np.stack([np.cos(angles), np.sin(angles)], 1)
    reach = centers @ directions.T + radii[..., None]  # (..., D, N)
    farthest = reach.argmax(-2)
    center = np.take_along_axis(centers, farthest[..., None], -2)
    radius = np.take_along_axis(radii, farthest, -1)
    hull: DoubleArray = center + radius[..., None] * directions
    return hull
