"""Writes predictions as pre-annotations for Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from higherhrnet import __version__
from higherhrnet.io.addresses import parse_url
from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.interchange.predicted_images import PredictedImage, PredictedImages
from higherhrnet.io.json_files import write_json_list
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton

_POINT_WIDTH = 0.5
"""The width of a drawn keypoint in percent of the image's width."""


def write_label_studio(folder: Path, images: PredictedImages) -> list[str]:
    """Writes `tasks.json`, which Label Studio imports, and `labeling.xml`, its labeling interface.

    Each person is a rectangle to which the keypoints belong (`parentID`). Files are addressed by
    their paths below the local storage of Label Studio, `/data/local-files/?d=NAME`.

    Args:
        folder: the output folder.
        images: the predictions. Frames of videos are omitted, since Label Studio has no keypoints
            in videos.

    Returns:
        A note if frames were omitted.

    Raises:
        InputError: a file cannot be written.
    """
    with atomic_path(folder / "labeling.xml") as temporary:
        temporary.write_text(_labeling_interface(images.skeleton), encoding="utf-8")
    with (
        atomic_path(folder / "tasks.json") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        write_json_list(file, (_task(image) for image in images if image.frame is None))
    omitted = sum(image.frame is not None for image in images)
    if not omitted:
        return []
    return [f"label-studio: videos cannot have keypoints, frames omitted: {omitted}"]


def _labeling_interface(skeleton: Skeleton) -> str:
    keypoints = "\n".join(  # the export as COCO needs the indices
        f'    <Label value={quoteattr(name)} model_index="{index}"/>'
        for index, name in enumerate(skeleton.names)
    )
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <RectangleLabels name="people" toName="image">
    <Label value="person"/>
  </RectangleLabels>
  <KeyPointLabels name="keypoints" toName="image">
{keypoints}
  </KeyPointLabels>
</View>
"""


def _task(image: PredictedImage) -> dict[str, Any]:
    results = [
        result
        for index, person in enumerate(image.poses)
        for result in _person(person, f"person{index}", *image.size)
    ]
    scores = image.poses.scores
    prediction = {
        "model_version": f"higherhrnet {__version__}",
        "score": float(scores.mean()) if len(scores) else 0.0,
        "result": results,
    }
    is_remote = parse_url(image.path) is not None
    address = image.path if is_remote else f"/data/local-files/?d={quote(image.name)}"
    return {"data": {"image": address}, "predictions": [prediction]}


def _person(person: Poses, region: str, width: int, height: int) -> Iterator[dict[str, Any]]:
    """Yields the rectangle of one person and the keypoints that were found."""
    shared = {
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }

    def percent(x: float, y: float) -> tuple[float, float]:
        return round(100 * x / width, 4), round(100 * y / height, 4)

    x, y, box_width, box_height = person.boxes[0].tolist()
    (left, top), (wide, high) = percent(x, y), percent(box_width, box_height)
    yield {
        **shared,
        "id": region,
        "from_name": "people",
        "type": "rectanglelabels",
        "score": float(person.scores[0]),
        "value": {
            "x": left, "y": top, "width": wide, "height": high, "rotation": 0,
            "rectanglelabels": ["person"],
        },
    }  # fmt: skip
    keypoints = zip(
        person.skeleton.names,
        person.keypoints[0].tolist(),
        person.keypoint_scores[0].tolist(),
        strict=True,
    )
    for name, point, score in keypoints:
        if score > 0:
            x, y = percent(*point)
            yield {
                **shared,
                "id": f"{region}-{name}",
                "parentID": region,
                "from_name": "keypoints",
                "type": "keypointlabels",
                "score": score,
                "value": {"x": x, "y": y, "width": _POINT_WIDTH, "keypointlabels": [name]},
            }
