"""The JSON and .toml files that commands read and write, as types with descriptions of all fields.

The types of headers and of the service's responses are those of the package.
"""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import ConfigDict
from typing_extensions import TypedDict

from higherhrnet.config.header import Header
from higherhrnet.serving.problems import Problem
from higherhrnet.serving.schemas import PosesResponse, ServerInfo

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Result(TypedDict):
    """One person in one image or frame, as in COCO's results format."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    image_id: int | str
    """The number in the name of the file if it is a number, else the name."""
    category_id: int
    """1."""
    keypoints: list[float]
    """x, y and score of each keypoint, in pixels of the image as it is displayed; 0, 0, 0 for a
    missing keypoint. The center of the upper left pixel is 0, 0."""
    score: float
    """The score of the person, about 0 to 1."""
    bbox: list[float]
    """x, y, width and height of the box around the found keypoints, in pixels."""
    file_name: str
    """The name of the file, without the folders that were given on the command line."""
    frame: NotRequired[int]
    """Of a video or camera: the number of the frame, counted from 0."""
    time: NotRequired[float]
    """Of a video or camera: the time of the frame in seconds."""
    track_id: NotRequired[int]
    """With `--track`: the track ID, counted from 1 in each video."""


class Frame(TypedDict):
    """One image or frame, with all its people."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    image_id: int | str
    """As in the results."""
    file_name: str
    """As in the results."""
    frame: NotRequired[int]
    """As in the results."""
    time: NotRequired[float]
    """As in the results."""
    width: int
    """The width of the image in pixels, as it is displayed."""
    height: int
    """The height of the image in pixels, as it is displayed."""
    path: str
    """The absolute path or the address of the file, by which `--resume` identifies it."""
    people: list[Result]
    """The people; empty if none was found."""


class Finished(TypedDict):
    """The end of a video, which `--resume` does not process again."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    file_name: str
    """The name of the video."""
    path: str
    """The absolute path of the video."""
    finished: bool
    """true."""


class AnnotatedImage(TypedDict):
    """An image."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[misc]
    id: int | str
    """The ID of the image, which annotations refer to."""
    file_name: str
    """The path in the folder or .zip file of images."""
    width: NotRequired[int]
    """The width in pixels."""
    height: NotRequired[int]
    """The height in pixels."""


class Annotation(TypedDict):
    """A person or another object in an image."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[misc]
    id: NotRequired[int | str]
    """The ID of the annotation."""
    image_id: int | str
    """The ID of the image."""
    category_id: int | str
    """The ID of the category."""
    keypoints: NotRequired[list[float]]
    """x, y and visibility of each keypoint: 2 visible, 1 occluded, 0 not labeled."""
    bbox: NotRequired[list[float]]
    """x, y, width and height in pixels."""
    area: NotRequired[float]
    """The area in square pixels, which defines how accurate AP expects keypoints to be; default:
    that of `bbox`."""
    iscrowd: NotRequired[int]
    """1 for a region of people who are not annotated individually; default: 0."""
    segmentation: NotRequired[Any]
    """Polygons or run lengths; the loss ignores this region of crowds."""


class AnnotatedCategory(TypedDict):
    """A kind of object, and its skeleton."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[misc]
    id: int | str
    """The ID of the category."""
    name: str
    """The name; `person` is the main category if there are several with keypoints."""
    keypoints: NotRequired[list[str]]
    """The names of the keypoints."""
    skeleton: NotRequired[list[list[int]]]
    """Limbs: pairs of keypoints, counted from 1."""
    sigmas: NotRequired[list[float]]
    """The tolerance of each keypoint in OKS; default: the mean of COCO's."""
    flip_pairs: NotRequired[list[list[str]]]
    """Pairs of keypoints that a flip exchanges, in addition to left and right."""
    grouping_order: NotRequired[list[int]]
    """The order in which keypoints are grouped into people, counted from 0."""


class Annotations(TypedDict):
    """A COCO keypoints file."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[misc]
    images: list[AnnotatedImage]
    """The images."""
    annotations: list[Annotation]
    """The people in them."""
    categories: list[AnnotatedCategory]
    """The kinds of objects."""


class SkeletonFile(TypedDict):
    """The keypoints of an object."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    names: list[str]
    """The names of the keypoints, in the order of the annotations."""
    name: NotRequired[str]
    """The name of the skeleton; default: that of the file."""
    limbs: NotRequired[list[tuple[str, str]]]
    """Pairs of keypoints that are connected by a line when a pose is drawn."""
    flip_pairs: NotRequired[list[tuple[str, str]]]
    """Pairs of keypoints that a flip exchanges, in addition to left and right."""
    sigmas: NotRequired[list[float]]
    """The tolerance of each keypoint in OKS; default: that of COCO's keypoint of the same name,
    else the mean of COCO's."""
    grouping_order: NotRequired[list[str]]
    """The keypoints in the order in which they are grouped into people; default: that of
    `names`."""


class Metrics(TypedDict):
    """What `evaluate --json` writes: COCO's ten metrics, or CrowdPose's nine; -1 if undefined."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    images: int
    """Number of images."""
    unreadable: int
    """Number of images that could not be read, whose people count as missed."""
    people: int
    """Number of annotated people with labeled keypoints."""
    AP: float
    """Average precision over OKS thresholds from 0.50 to 0.95, from 0 to 1."""
    AP50: float
    """AP at an OKS of 0.50."""
    AP75: float
    """AP at an OKS of 0.75."""
    APM: NotRequired[float]
    """COCO: AP of people with an area of 32² to 96² pixels."""
    APL: NotRequired[float]
    """COCO: AP of people with a larger area."""
    AP_easy: NotRequired[float]
    """CrowdPose: AP of images with a crowd index below 0.2."""
    AP_medium: NotRequired[float]
    """CrowdPose: AP of images with a crowd index from 0.2 to below 0.8."""
    AP_hard: NotRequired[float]
    """CrowdPose: AP of images with a crowd index of 0.8 or more."""
    AR: float
    """Average recall over the same thresholds."""
    AR50: float
    """AR at an OKS of 0.50."""
    AR75: float
    """AR at an OKS of 0.75."""
    ARM: NotRequired[float]
    """COCO: AR of people with an area of 32² to 96² pixels."""
    ARL: NotRequired[float]
    """COCO: AR of people with a larger area."""


TYPES: dict[str, Any] = {
    "predictions": list[Result],
    "predictions-line": Frame | Finished,
    "annotations": Annotations,
    "skeleton": SkeletonFile,
    "metrics": Metrics,
    "header": Header,
    "service-poses": PosesResponse,
    "service-info": ServerInfo,
    "service-error": Problem,
}
"""The type of each format by the name of its schema."""
