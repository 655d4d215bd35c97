"""Drawn people: angles of the limbs → points of the body in space → convex parts to be painted.

Space is the viewer's: x to the right, y down, z towards the eye; lengths are in body heights, the
middle of the hips is the origin. A body that faces the viewer has its left on the viewer's right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import DoubleArray

_SIDES = ("left", "right")
_LIMBS = ("elbow", "wrist", "hand", "knee", "ankle", "toe")
_LENGTHS = np.array([0.165, 0.15, 0.045, 0.235, 0.23, 0.07])  # from the one before, or the trunk
_TRUNK = {
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
POINTS = (*(f"{side}_{name}" for side in _SIDES for name in _LIMBS), *_TRUNK, *_HEAD)
"""Names of a body's points: all keypoints of COCO and CrowdPose, and a few that shape the parts."""

# Degrees, lowest and highest: forward, outward, bend of the elbow, outward turn of the forearm.
_ARMS = np.array([
    [(-20, 25), (4, 22), (0, 40), (-15, 10)],  # hanging
    [(-30, 40), (8, 45), (50, 125), (-45, 0)],  # bent
    [(-15, 15), (55, 120), (0, 30), (-20, 70)],  # sideways
    [(-10, 20), (125, 170), (0, 30), (-20, 60)],  # up
    [(50, 160), (0, 30), (0, 60), (-30, 10)],  # forward
])  # fmt: skip
# Forward, outward and bend of the knee, for the one leg and the other.
_LEGS = np.array([
    [[(-6, 8), (2, 10), (0, 8)], [(-6, 8), (2, 10), (0, 8)]],  # standing
    [[(10, 40), (1, 6), (0, 25)], [(-35, -5), (1, 6), (5, 55)]],  # walking
    [[(60, 90), (2, 22), (60, 100)], [(60, 90), (2, 22), (60, 100)]],  # sitting
    [[(-10, 20), (12, 35), (0, 35)], [(-10, 20), (12, 35), (0, 35)]],  # astride
    [[(20, 90), (0, 15), (20, 110)], [(-6, 8), (0, 8), (0, 8)]],  # one knee up
])  # fmt: skip


class Part(NamedTuple):
    """The convex hull of up to four discs of one colour."""

    discs: dict[str, float]
    """Point at the centre, and radius in body heights."""
    color: str
    tone: float
    """Factor of the colour's brightness."""
    nearer: float = 0.0
    """Added to the depth that decides what is painted over what."""


def _sided(side: str) -> tuple[Part, ...]:
    def part(tone: float, nearer: float, **discs: float) -> Part:
        return Part({f"{side}_{name}": r for name, r in discs.items()}, side, tone, nearer)

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
    *_sided("left"),
    *_sided("right"),
    Part({f"{s}_{p}": 0.042 for s in _SIDES for p in ("shoulder", "hip")}, "shirt", 1.0),
    Part({"chest": 0.016, "belly": 0.016}, "shirt", 0.5),
    Part({"neck": 0.03, "chin": 0.02}, "skin", 0.85, 0.01),
    Part({"face": 0.058, "chin": 0.042}, "skin", 1.0, 0.03),
    Part({"hair": 0.07, "head": 0.025}, "hair", 1.0, 0.03),
    Part({"nose": 0.014}, "skin", 0.6, 0.045),
)
"""What a body is painted with. A part that can face away lies in front of or behind its rest."""

COLORS = ("left", "right", "skin", "hair", "shirt")

_DISCS = [(list(part.discs) * 4)[:4] for part in PARTS]
_CENTRES = np.array([[POINTS.index(name) for name in discs] for discs in _DISCS])
_RADII = np.array([[p.discs[name] for name in d] for p, d in zip(PARTS, _DISCS, strict=True)])
SHOWS = np.array([[name in part.discs for name in POINTS] for part in PARTS])
"""(parts, points) whether the point is seen where the part is on top."""
_COLOUR = np.array([COLORS.index(part.color) for part in PARTS])
_TONE = np.array([part.tone for part in PARTS])
_NEARER = np.array([part.nearer for part in PARTS])
_MIN_RADIUS = 0.6  # pixels; the least that surely paints one


class DrawnPeople(NamedTuple):
    """P people to be painted."""

    bodies: DoubleArray
    """(P, len(POINTS), 3) where their points are, in pixels."""
    heights: DoubleArray
    """(P,) how tall each would be upright, in pixels."""
    colors: DoubleArray
    """(P, len(COLOURS), 3) red, green and blue, 0 to 255."""


def sample_people(
    rng: np.random.Generator, hips: DoubleArray, heights: DoubleArray, side_tones: bool = True
) -> DrawnPeople:
    """People who stand, walk, sit or raise their arms, seen from any side.

    Args:
        rng: where chance comes from.
        hips: (P, 2) where the middle of their hips is, in pixels.
        heights: (P,) how tall each would be upright, in pixels.
        side_tones: left limbs are warm and right ones cool; False: each person draws lots.
    """
    count = len(heights)
    bodies = _sample_bodies(rng, count) * heights[:, None, None]
    bodies[..., :2] += hips[:, None]
    colors = _sample_colours(rng, count)
    swapped = (rng.random(count) < 0.5) & (not side_tones)
    colors[swapped, :2] = colors[swapped, 1::-1]
    return DrawnPeople(bodies, heights, colors)


def _sample_bodies(rng: np.random.Generator, count: int) -> DoubleArray:
    """(P, len(POINTS), 3) in body heights."""
    stem = np.broadcast_to(list(_TRUNK.values()), (count, len(_TRUNK), 3))
    head = np.array(list(_HEAD.values())) @ _rotation(1, rng.normal(0, 20, count))
    bodies = np.concatenate([_sample_limbs(rng, count), stem, head], 1)
    facing = rng.choice([0, 0, 0, 180, 90, -90], count) + rng.normal(0, 25, count)
    from_above, leaning = rng.uniform(-18, 0, count), rng.normal(0, 8, count)
    turned: DoubleArray = (
        bodies @ _rotation(1, facing) @ _rotation(0, from_above) @ _rotation(2, leaning)
    )
    return turned


def _sample_limbs(rng: np.random.Generator, count: int) -> DoubleArray:
    """(P, 12, 3) the points of arms and legs of bodies that face the viewer."""
    arms = rng.uniform(*np.moveaxis(_ARMS[rng.integers(len(_ARMS), size=(count, 2))], -1, 0))
    legs = rng.uniform(*np.moveaxis(_LEGS[rng.integers(len(_LEGS), size=count)], -1, 0))
    legs = np.where(rng.random((count, 1, 1)) < 0.5, legs, legs[:, ::-1])
    (raised, spread, elbow, turn), (ahead, apart, knee) = arms.T, legs.T
    forward = [raised, raised + elbow, raised + elbow, ahead, ahead - knee, ahead - knee + 80]
    outward = [spread, spread + turn, spread + turn, apart, apart / 2, apart + 8]
    f, o = np.radians(np.array(forward).T), np.radians(np.array(outward).T)  # (P, 2, 6)
    side = np.array([[1.0], [-1.0]])
    steps = np.stack([side * np.sin(o), np.cos(o) * np.cos(f), np.cos(o) * np.sin(f)], -1)
    steps = (steps * _LENGTHS[:, None]).reshape(count, 2, 2, 3, 3)  # side, limb, segment, axis
    starts = np.array([[_TRUNK[f"{s}_shoulder"], _TRUNK[f"{s}_hip"]] for s in _SIDES])
    points: DoubleArray = starts[:, :, None] + steps.cumsum(3)
    return points.reshape(count, 12, 3)


def _rotation(axis: int, degrees: DoubleArray) -> DoubleArray:
    """(P, 3, 3) matrices that turn row vectors about x, y or z."""
    a, b = [i for i in range(3) if i != axis]
    matrices = np.tile(np.eye(3), (len(degrees), 1, 1))
    matrices[:, a, a] = matrices[:, b, b] = np.cos(np.radians(degrees))
    matrices[:, a, b] = np.sin(np.radians(degrees))
    matrices[:, b, a] = -matrices[:, a, b]
    return matrices


def _sample_colours(rng: np.random.Generator, count: int) -> DoubleArray:
    """(P, len(COLOURS), 3) left reds, right blues, skin and hair from dark to light, any shirt."""
    dark = np.array([(175, 30, 20), (20, 50, 175), (90, 55, 40), (15, 12, 10), (70, 100, 60)])
    span = np.array([(80, 65, 55), (60, 90, 80), (160, 155, 145), (155, 108, 50), (160, 130, 110)])
    share = rng.random((count, len(COLORS), 1)) + rng.normal(0, 0.1, (count, len(COLORS), 3))
    colors: DoubleArray = dark + share.clip(0, 1) * span
    return colors


def shapes(people: DrawnPeople) -> tuple[DoubleArray, DoubleArray, NDArray[np.intp]]:
    """The people's parts as polygons, the farthest part of each person first.

    Returns:
        (P, Q, N, 2) corners in pixels, (P, Q, 3) colours, and (P, Q) indices into PARTS.
    """
    heights = people.heights[:, None]
    centres = people.bodies[:, _CENTRES]  # (P, Q, D, 3)
    depth = centres[..., 2].mean(-1) / heights
    order = np.argsort(depth + _NEARER, 1)
    radii = np.maximum(_RADII * heights[..., None], _MIN_RADIUS)
    light = _TONE * (1 + 0.5 * depth.clip(-0.4, 0.4))  # near parts are lighter
    colors = (people.colors[:, _COLOUR] * light[..., None]).clip(0, 255)
    rows = np.arange(len(order))[:, None]
    return hulls(centres[..., :2], radii)[rows, order], colors[rows, order], order


def hulls(centres: DoubleArray, radii: DoubleArray, corners: int = 24) -> DoubleArray:
    """(..., N, 2) the convex hulls of discs, as the points that lie farthest in N directions.

    Args:
        centres: (..., D, 2) of each hull's discs.
        radii: (..., D) of the discs.
        corners: N.
    """
    turns = np.arange(corners) * (2 * np.pi / corners)
    directions = np.stack([np.cos(turns), np.sin(turns)], 1)
    reach = centres @ directions.T + radii[..., None]  # (..., D, N)
    best = reach.argmax(-2)
    farthest = np.take_along_axis(centres, best[..., None], -2)
    corner: DoubleArray = farthest + np.take_along_axis(radii, best, -1)[..., None] * directions
    return corner
