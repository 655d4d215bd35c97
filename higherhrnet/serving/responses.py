"""Results → response bodies: JSON in the format of COCO, or an image with poses."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from higherhrnet.arrays import Image
from higherhrnet.io.images import encode_image
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.serving.inference_service import InferenceResult
from higherhrnet.serving.schemas import ImageFormat
from higherhrnet.visualization.maps import draw_overlays
from higherhrnet.visualization.poses import draw

_MIN_SIDE_OF_ARROWS = 512
"""The minimum length in pixels of the longer side of an image of offsets."""
ResponseEntry = tuple[dict[str, Any], Poses]
"""An `ImageEntry` without its number, and the poses of the image."""


def image_entry(result: InferenceResult, maps: bool) -> ResponseEntry:
    """Makes the entry of one image, with its maps as images if they are requested."""
    height, width = result.shape
    image: dict[str, Any] = {"width": width, "height": height}
    if maps:
        image["maps"] = _draw_maps(result)
    return image, result.poses


def encode_poses(entries: Sequence[ResponseEntry], skeleton: Skeleton) -> bytes:
    """Encodes a `PosesResponse` as JSON from the entries of its images."""
    people = [person for i, (_, poses) in enumerate(entries, 1) for person in poses.to_coco(i)]
    response = {
        "images": [{"id": i, **image} for i, (image, _) in enumerate(entries, 1)],
        "annotations": [{"id": i, **person} for i, person in enumerate(people, 1)],
        "categories": [skeleton.to_category()],
    }
    return json.dumps(response, allow_nan=False).encode()


def encode_drawn_image(result: InferenceResult, format: ImageFormat) -> bytes:
    """Draws the poses on the image and encodes it."""
    return encode_image(draw(result.image(), result.poses), f".{format}")


def _draw_maps(result: InferenceResult) -> dict[str, Any]:
    image, maps = result.predictor.drawable_maps(
        result.image(), result.preprocessed, result.outputs
    )
    if maps.offsets is not None:
        image = _enlarged(image)
    return {
        **{name: _data_url(drawing) for name, drawing in draw_overlays(image, *maps).items()},
        "bbox": [round(value, 3) for value in result.preprocessed.base_resize.box()],
    }


def _enlarged(image: Image) -> Image:
    """Enlarges a small image, so that arrows that are drawn on it are sharp."""
    height, width = image.shape[:2]
    factor = -(-_MIN_SIDE_OF_ARROWS // max(height, width))
    return image if factor == 1 else np.asarray(cv2.resize(image, None, fx=factor, fy=factor))


def _data_url(image: Image) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode_image(image, ".jpg")).decode()
