"""Painting: people in space → a picture, and which of their keypoints are to be seen in it.

Keypoints count pixels by their index, as OpenCV draws: (3.0, 5.0) is the centre of `image[5, 3]`.
Boxes and polygons count from the image's edge, as COCO does: the first pixel spans 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import DoubleArray, Image
from higherhrnet.errors import InputError
from higherhrnet.skeleton import COCO, Skeleton
from higherhrnet.synthetic import bodies as figure
from higherhrnet.synthetic.bodies import DrawnPeople

CROWD = -1
"""The owner of the crowd's pixels in `Scene.owners`."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and the P people in it who show at least one keypoint, farthest first."""

    image: Image
    """(H, W, 3) RGB."""
    keypoints: NDArray[np.float32]
    """(P, K, 3) x, y and visibility: 2 seen; 1 hidden by a person, an object or the person's own
    body; 0 outside the picture, and x and y are 0."""
    owners: NDArray[np.int16]
    """(H, W) whose each pixel is: p + 1 for person p, CROWD, or 0 for nobody's."""

    @cached_property
    def areas(self) -> NDArray[np.float32]:
        """(P,) each person's number of pixels."""
        counts = np.bincount(self.owners.clip(0).ravel(), minlength=len(self.keypoints) + 1)
        return counts[1:].astype(np.float32)

    @cached_property
    def boxes(self) -> NDArray[np.float32]:
        """(P, 4) x, y, width and height around each person's pixels."""
        return _boxes(self.owners)

    @cached_property
    def crowd(self) -> NDArray[np.bool_]:
        """(H, W) where people are whose keypoints are not given: a crowd, or all but hidden."""
        return np.asarray(self.owners == CROWD)

    def annotations(self, image_id: int = 1, first_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations: the people with polygons, then the crowd, if any, with run lengths."""
        found = [
            {
                "num_keypoints": int(np.count_nonzero(keypoints[:, 2])),
                "keypoints": [round(value, 3) for value in keypoints.ravel().tolist()],
                "segmentation": _polygons(self.owners == person),
                "area": float(area),
                "bbox": box.tolist(),
                "iscrowd": 0,
            }
            for person, (keypoints, area, box) in enumerate(
                zip(self.keypoints, self.areas, self.boxes, strict=True), 1
            )
        ]
        if self.crowd.any():
            crowd = {
                "num_keypoints": 0,
                "keypoints": [0] * (3 * self.keypoints.shape[1]),
                "segmentation": _run_lengths(self.crowd),
                "area": float(self.crowd.sum()),
                "bbox": _boxes(self.crowd.astype(np.int16))[0].tolist(),
                "iscrowd": 1,
            }
            found.append(crowd)
        common = {"image_id": image_id, "category_id": 1}
        return [{"id": id_, **common, **one} for id_, one in enumerate(found, first_id)]


class Objects(NamedTuple):
    """Things that hide whom they stand before."""

    outlines: DoubleArray
    """(O, 24, 2) corners of convex polygons, in pixels."""
    colors: DoubleArray
    """(O, 3) red, green and blue, 0 to 255."""
    behind: NDArray[np.int64]
    """(O,) how many of the people are behind each."""


def paint_scene(
    canvas: Image,
    people: DrawnPeople,
    objects: Objects | None = None,
    crowd: int = 0,
    skeleton: Skeleton = COCO,
) -> Scene:
    """Paint people onto a copy of a picture, and say which keypoints are to be seen.

    Args:
        canvas: (H, W, 3) the background.
        people: farthest first.
        objects: what stands among them.
        crowd: how many of the people, from the first, are a crowd whose keypoints are not given.
        skeleton: the keypoints that are given.

    Raises:
        InputError: the skeleton names a keypoint that drawn people do not have.
    """
    if unknown := set(skeleton.names) - set(figure.POINTS):
        raise InputError(
            f"skeleton {skeleton.name}: cannot draw {', '.join(sorted(unknown))}; "
            f"only the keypoints of COCO and CrowdPose"
        )
    names = [figure.POINTS.index(name) for name in skeleton.names]
    image, body, part = _paint(canvas, people, objects)
    points = people.bodies[crowd:, names, :2]
    last = np.array(body.shape[::-1]) - 1
    inside = np.all((points >= 0) & (points <= last), -1, keepdims=True)
    x, y = np.rint(points.clip(0, last)).astype(int).transpose(2, 0, 1)
    own = body[y, x] == np.arange(crowd, len(people.bodies))[:, None]
    visibility = 1 + (own & figure.SHOWS[part[y, x], names])
    keypoints = np.where(inside, np.dstack([points, visibility]), 0).astype(np.float32)

    known = np.flatnonzero((keypoints[..., 2] == 2).any(1))
    owner = np.full(len(people.bodies) + 1, CROWD, np.int16)
    owner[crowd + known] = np.arange(1, len(known) + 1)
    owner[-1] = 0  # nobody, who is person -1
    return Scene(image, keypoints[known], owner[body])


def _paint(
    canvas: Image, people: DrawnPeople, objects: Objects | None
) -> tuple[Image, NDArray[np.int32], NDArray[np.int32]]:
    """The picture (H, W, 3), and the person (-1 nobody) and part on top in each pixel (H, W)."""
    outlines, colors, parts = figure.shapes(people)
    per_person = len(figure.PARTS)
    labels = 1 + np.arange(len(parts))[:, None] * per_person + parts  # 0: nobody
    outlines, colors = outlines.reshape(-1, *outlines.shape[2:]), colors.reshape(-1, 3)
    labels = labels.ravel()
    if objects is not None:
        at = objects.behind * per_person
        outlines = np.insert(outlines, at, objects.outlines, 0)
        colors = np.insert(colors, at, objects.colors, 0)
        labels = np.insert(labels, at, 0)
    image, top = canvas.copy(), np.zeros(canvas.shape[:2], np.int32)
    fill(image, outlines, colors, cv2.LINE_AA)
    fill(top, outlines, labels, cv2.LINE_8)
    return image, *np.divmod(top - 1, per_person)


def fill(canvas: NDArray[Any], outlines: DoubleArray, values: NDArray[Any], line: int) -> None:
    """Fill (N, 24, 2) convex polygons on a canvas, each with its value.

    Args:
        canvas: (H, W, ...) painted in place.
        outlines: corners in pixels, the first pixel's centre at 0.
        values: (N, ...) a colour or a number.
        line: OpenCV's kind of edge; LINE_AA blends.
    """
    fixed = np.rint(outlines * 16).astype(np.int32)  # OpenCV's fixed point, 4 bits of fraction
    for outline, value in zip(fixed, values.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, outline, value, line, shift=4)


def _boxes(owners: NDArray[np.int16]) -> NDArray[np.float32]:
    """(P, 4) x, y, width and height around the pixels of each number from 1."""
    people = range(1, int(owners.max(initial=0)) + 1)
    found = [cv2.boundingRect((owners == person).astype(np.uint8)) for person in people]
    return np.array(found, np.float32).reshape(-1, 4)


def _polygons(mask: NDArray[np.bool_]) -> list[list[float]]:
    """COCO polygons around a mask; holes are filled, as in COCO."""
    doubled = mask.astype(np.uint8).repeat(2, 0).repeat(2, 1)  # a lone pixel has four corners
    outlines, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [(outline / 2 + 0.25).ravel().tolist() for outline in outlines]


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths: down the columns, beginning with what is not there."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff(changes, prepend=0, append=flat.size)
    return {"counts": counts.tolist(), "size": list(mask.shape)}
