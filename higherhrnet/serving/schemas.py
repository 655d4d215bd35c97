"""The query parameters and the JSON responses of the HTTP API."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ImageFormat = Literal["jpeg", "png"]

EXAMPLE = json.loads(files(__package__).joinpath("example.json").read_text(encoding="utf-8"))
"""The response for examples/scene.png with the model examples/drawn.onnx."""


class QueryParameters(BaseModel):
    """The inference settings of a request."""

    model_config = ConfigDict(extra="forbid")

    flip: bool | None = Field(
        None,
        description="Whether the network also processes the horizontally flipped image, which is "
        "slower and more accurate. The default is the `flip` of `GET /info`.",
    )
    min_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Omit people whose score is lower. The default is the setting of the service.",
    )


class PosesQuery(QueryParameters):
    """The query parameters of `POST /poses`."""

    maps: bool = Field(
        False,
        description="Whether the response contains the heatmaps, and the tags or offsets, as "
        "images.",
    )


class ImageQuery(QueryParameters):
    """The query parameters of `POST /image`."""

    format: ImageFormat = Field("jpeg", description="The format of the returned image.")


class MapImages(BaseModel):
    """The network's maps, drawn over the image."""

    heatmaps: str = Field(description="The heatmaps, as the data: URL of a JPEG.")
    tags: str | None = Field(
        None,
        description="The tags, as the data: URL of a JPEG, if the network predicts tags. People "
        "with different tags have different colors.",
    )
    offsets: str | None = Field(
        None,
        description="The centers of people and the offsets to their keypoints, as the data: URL of "
        "a JPEG, if the network predicts offsets.",
    )
    bbox: list[float] = Field(
        description="The area of the image that they cover: x, y, width and height in pixels, "
        "counted from the image's upper left corner."
    )


class ImageEntry(BaseModel):
    """One image, in the order of the request."""

    id: int = Field(description="The number of the image, counted from 1.")
    width: int = Field(description="Width in pixels after the rotation that EXIF specifies.")
    height: int = Field(description="Height in pixels after the rotation that EXIF specifies.")
    maps: MapImages | None = Field(None, description="Present if `maps=true` was requested.")


class Person(BaseModel):
    """The pose of one person."""

    id: int = Field(description="The number of the person, counted from 1 over all images.")
    image_id: int
    category_id: int
    keypoints: list[float] = Field(
        description="x, y and score of each keypoint of the category; 0, 0, 0 for a missing "
        "keypoint. The center of the upper left pixel is 0, 0."
    )
    score: float = Field(description="The confidence, about 0 to 1.")
    bbox: list[float] = Field(description="x, y, width and height of the box around the keypoints.")


class Category(BaseModel):
    """The skeleton: names of the keypoints and how they are connected."""

    id: int
    name: str
    keypoints: list[str]
    skeleton: list[list[int]] = Field(description="Limbs: pairs of keypoints, counted from 1.")
    sigmas: list[float] = Field(description="The tolerance of each keypoint in OKS.")
    grouping_order: list[int] = Field(
        description="The order in which keypoints are grouped into people, counted from 0."
    )
    flip_pairs: list[list[str]] = Field(
        description="Pairs of keypoints that a flip exchanges, in addition to left and right."
    )


class PosesResponse(BaseModel):
    """The people in one or several images, in the format of COCO's annotation files."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    images: list[ImageEntry]
    annotations: list[Person]
    categories: list[Category]


class ServerInfo(BaseModel):
    """The model, the engine and the limits of the service."""

    version: str = Field(description="The version of higherhrnet.")
    engine: str = Field(description="The library that runs the network, and its settings.")
    skeleton: str = Field(description="The name of the skeleton.")
    keypoints: list[str] = Field(description="The names of the keypoints.")
    maps: list[str] = Field(description="The names of the images that `maps=true` adds.")
    flip: bool = Field(description="The default of the query parameter `flip`.")
    token_required: bool = Field(description="Whether requests must contain a bearer token.")
    max_megabytes: float = Field(description="Maximum size of a request in millions of bytes.")
    max_megapixels: float = Field(description="Maximum size of an image in millions of pixels.")
