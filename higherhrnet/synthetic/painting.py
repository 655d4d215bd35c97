"""Painting: points of bodies in 3D → an image, with the visibility of each keypoint.

In the coordinates of keypoints the center of `image[5, 3]` is at (3.0, 5.0), as in OpenCV. Boxes
and polygons count from the edge of the image, as in COCO: the first pixel spans 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from higherhrnet.arrays import BoolArray, DoubleArray, FloatArray, Image
from higherhrnet.errors import InputError
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO
from higherhrnet.synthetic.bodies import PARTS, POINTS, SHOWN_POINTS, SyntheticPeople, part_polygons

CROWD = -1
"""The value of a crowd's pixels in `Scene.instance_map`."""


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and the P people in it with at least one visible keypoint, the farthest first."""

    image: Image
    """(H, W, 3) RGB."""
    keypoints: FloatArray
    """(P, K, 3) x, y and visibility: 2 for visible, 1 for hidden by a person, an object or the
    person's own body, 0 for outside the image, in which case x and y are 0."""
    instance_map: NDArray[np.int16]
    """(H, W) the person at each pixel: p + 1 for person p, `CROWD`, or 0 for no person."""

    @cached_property
    def areas(self) -> FloatArray:
        """(P,) the number of pixels of each person."""
        counts = np.bincount(self.instance_map.clip(0).ravel(), minlength=len(self.keypoints) + 1)
        return counts[1:].astype(np.float32)

    @cached_property
    def boxes(self) -> FloatArray:
        """(P, 4) x, y, width and height of the box around the pixels of each person."""
        return _boxes(self.instance_map)

    @cached_property
    def crowd(self) -> BoolArray:
        """(H, W) whether a pixel shows people without annotated keypoints.

        These are a crowd, and people without a visible keypoint.
        """
        return np.asarray(self.instance_map == CROWD)

    def annotations(self, image_id: int = 1, first_id: int = 1) -> list[dict[str, Any]]:
        """Converts the scene to COCO annotations.

        Args:
            image_id: the ID of the image.
            first_id: the ID of the first annotation; the others follow.

        Returns:
            An annotation with polygons for each person, and one with run lengths for a crowd.
        """
        annotations = [
            {
                "num_keypoints": int(np.count_nonzero(keypoints[:, 2])),
                "keypoints": [round(value, 3) for value in keypoints.ravel().tolist()],
                "segmentation": _polygons(self.instance_map == person),
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
            annotations.append(crowd)
        common = {"image_id": image_id, "category_id": 1}
        return [
            {"id": id_, **common, **annotation}
            for id_, annotation in enumerate(annotations, first_id)
        ]


class Objects(NamedTuple):
    """O objects that hide the people behind them."""

    outlines: DoubleArray
    """(O, 24, 2) corners of convex polygons, in pixels."""
    colors: DoubleArray
    """(O, 3) RGB values, 0 to 255."""
    people_behind: NDArray[np.int64]
    """(O,) the number of people behind each object."""


def paint_scene(
    canvas: Image,
    people: SyntheticPeople,
    objects: Objects | None = None,
    crowd: int = 0,
    skeleton: Skeleton = COCO,
) -> Scene:
    """Paints people onto a copy of an image, and determines the visibility of their keypoints.

    Args:
        canvas: (H, W, 3) the background.
        people: the people, the farthest first.
        objects: objects between the people.
        crowd: number of people, from the first, who form a crowd without annotated keypoints.
        skeleton: the keypoints to annotate.

    Raises:
        InputError: the skeleton has a keypoint that synthetic people do not have.
    """
    if unknown := sorted(set(skeleton.names) - set(POINTS)):
        more = f" and {len(unknown) - 8} others" if len(unknown) > 8 else ""
        raise InputError(
            f"skeleton {skeleton.name}: synthetic people have no {', '.join(unknown[:8])}{more}; "
            "use a skeleton with keypoints of COCO and CrowdPose only"
        )
    indices = [POINTS.index(name) for name in skeleton.names]
    image, body, part = _paint(canvas, people, objects)
    points = people.bodies[crowd:, indices, :2]
    last = np.array(body.shape[::-1]) - 1
    inside = np.all((points >= 0) & (points <= last), -1, keepdims=True)
    x, y = np.rint(points.clip(0, last)).astype(int).transpose(2, 0, 1)
    own = body[y, x] == np.arange(crowd, len(people.bodies))[:, None]
    visibility = 1 + (own & SHOWN_POINTS[part[y, x], indices])
    keypoints = np.where(inside, np.dstack([points, visibility]), 0).astype(np.float32)

    visible = np.flatnonzero((keypoints[..., 2] == 2).any(1))
    instance = np.full(len(people.bodies) + 1, CROWD, np.int16)
    instance[crowd + visible] = np.arange(1, len(visible) + 1)
    instance[-1] = 0  # `body` is -1 where there is no person
    return Scene(image, keypoints[visible], instance[body])


def _paint(
    canvas: Image, people: SyntheticPeople, objects: Objects | None
) -> tuple[Image, NDArray[np.int32], NDArray[np.int32]]:
    """Paints people and objects.

    Returns:
        The (H, W, 3) image, and for each pixel (H, W) the index of the visible person, -1 for
        none, and of the visible part.
    """
    outlines, colors, parts = part_polygons(people)
    per_person = len(PARTS)
    labels = 1 + np.arange(len(parts))[:, None] * per_person + parts  # 0: no person
    outlines, colors = outlines.reshape(-1, *outlines.shape[2:]), colors.reshape(-1, 3)
    labels = labels.ravel()
    if objects is not None:
        at = objects.people_behind * per_person
        outlines = np.insert(outlines, at, objects.outlines, 0)
        colors = np.insert(colors, at, objects.colors, 0)
        labels = np.insert(labels, at, 0)
    image, top = canvas.copy(), np.zeros(canvas.shape[:2], np.int32)
    fill(image, outlines, colors, cv2.LINE_AA)
    fill(top, outlines, labels, cv2.LINE_8)
    return image, *np.divmod(top - 1, per_person)


def fill(canvas: NDArray[Any], outlines: DoubleArray, values: NDArray[Any], line: int) -> None:
    """Fills convex polygons on an image, one after another.

    Args:
        canvas: (H, W, ...) the image, which is changed in place.
        outlines: (N, 24, 2) corners in pixels, where the center of the first pixel is at 0.
        values: (N, ...) the color or number of each polygon.
        line: OpenCV's line type of the edges; LINE_AA is antialiased.
    """
    fixed = np.rint(outlines * 16).astype(np.int32)  # OpenCV's fixed point, 4 bits of fraction
    for outline, value in zip(fixed, values.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, outline, value, line, shift=4)


def _boxes(instance_map: NDArray[np.int16]) -> FloatArray:
    """Computes the (P, 4) boxes x, y, width, height around the pixels with the values 1 to P."""
    people = range(1, int(instance_map.max(initial=0)) + 1)
    boxes = [cv2.boundingRect((instance_map == person).astype(np.uint8)) for person in people]
    return np.array(boxes, np.float32).reshape(-1, 4)


def _polygons(mask: BoolArray) -> list[list[float]]:
    """Computes COCO polygons around a mask; they cannot represent holes."""
    # At twice the size a contour passes through the corners even of a single pixel.
    doubled = mask.astype(np.uint8).repeat(2, 0).repeat(2, 1)
    outlines, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [(outline / 2 + 0.25).ravel().tolist() for outline in outlines]


def _run_lengths(mask: BoolArray) -> dict[str, list[int]]:
    """Computes COCO's uncompressed run lengths, along columns and starting outside the mask."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff(changes, prepend=0, append=flat.size)
    return {"counts": counts.tolist(), "size": list(mask.shape)}
