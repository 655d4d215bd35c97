"""What was found → what is sent: a COCO file as JSON, or a drawn picture."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from higherhrnet.arrays import Image
from higherhrnet.io.images import encode_image
from higherhrnet.poses import Poses
from higherhrnet.serving.inference_service import InferenceResult
from higherhrnet.skeleton import Skeleton
from higherhrnet.visualization.maps import draw_heatmaps, draw_tags
from higherhrnet.visualization.poses import draw

Format = Literal["jpeg", "png"]

EXAMPLE = json.loads(files(__package__).joinpath("example.json").read_text(encoding="utf-8"))
"""What examples/drawn.onnx finds in examples/scene.png."""


class Maps(BaseModel):
    """What the network sees, as pictures."""

    heatmaps: str = Field(description="Where keypoints are: a data: URL of a JPEG.")
    tags: str = Field(description="Whose they are, as colours: another.")
    bbox: list[float] = Field(
        description="Where both lie on the photograph: x, y, width, height from its edge."
    )


class Photograph(BaseModel):
    """One photograph, in the order of the request."""

    id: int = Field(description="Counted from 1.")
    width: int = Field(description="Pixels, as EXIF turns the photograph.")
    height: int
    maps: Maps | None = Field(None, description="If they were asked for.")


class Person(BaseModel):
    """One person."""

    id: int = Field(description="Counted from 1 through all photographs.")
    image_id: int
    category_id: int
    keypoints: list[float] = Field(
        description="x, y, score for each keypoint of the category; 0, 0, 0 if not found. "
        "Pixels are counted by index: 0, 0 is the middle of the first."
    )
    score: float = Field(description="About 0 to 1.")
    bbox: list[float] = Field(description="x, y, width, height around the keypoints.")


class Category(BaseModel):
    """What the keypoints are called and how they hang together."""

    id: int
    name: str
    keypoints: list[str]
    skeleton: list[list[int]] = Field(description="Limbs: pairs of keypoints, counted from 1.")
    sigmas: list[float]
    grouping_order: list[int]
    flip_pairs: list[list[str]]


class Answer(BaseModel):
    """The people of one or several photographs: a COCO file, which COCO's tools read."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    images: list[Photograph]
    annotations: list[Person]
    categories: list[Category]


Entry = tuple[dict[str, Any], Poses]
"""A photograph's entry in the answer, and its people."""


def entry(found: InferenceResult, maps: bool) -> Entry:
    """What the answer says of one photograph.

    Args:
        found: what was found in it.
        maps: with pictures of its heatmaps and tags.
    """
    height, width = found.size
    image: dict[str, Any] = {"width": width, "height": height}
    return image | ({"maps": _maps(found)} if maps else {}), found.poses


def coco(entries: Sequence[Entry], skeleton: Skeleton) -> bytes:
    """The photographs' entries → an `Answer` as JSON."""
    people = [person for i, (_, poses) in enumerate(entries, 1) for person in poses.to_coco(i)]
    answer = {
        "images": [{"id": i, **image} for i, (image, _) in enumerate(entries, 1)],
        "annotations": [{"id": i, **person} for i, person in enumerate(people, 1)],
        "categories": [skeleton.to_category()],
    }
    return json.dumps(answer, allow_nan=False).encode()


def picture(found: InferenceResult, format: Format) -> bytes:
    """The photograph with its people drawn, as a file."""
    return encode_image(draw(found.image(), found.poses), f".{format}")


def _maps(found: InferenceResult) -> dict[str, Any]:
    seen, heatmaps, tags = found.predictor.drawable_maps(
        found.image(), found.prepared, found.outputs
    )
    return {
        "heatmaps": _data_url(draw_heatmaps(seen, heatmaps)),
        "tags": _data_url(draw_tags(seen, heatmaps, tags)),
        "bbox": [round(side, 3) for side in found.prepared.base_resize.box()],
    }


def _data_url(image: Image) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode_image(image, ".jpg")).decode()
