"""Writes predictions as a COCO dataset, which annotation and dataset programs import."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from higherhrnet.io.atomic import atomic_path
from higherhrnet.io.interchange.predicted_images import PredictedImage, PredictedImages
from higherhrnet.io.json_files import write_json_list

_CATEGORY_ID = 1


def write_coco_dataset(folder: Path, images: PredictedImages) -> list[str]:
    """Writes `annotations.json` with images, annotations and the skeleton as the category `person`.

    Frames of videos are named `VIDEO/frame_000012.png`, and IDs are counted from 1. Annotations
    have the score and, if people were tracked, the `track_id` in addition to COCO's fields.

    Args:
        folder: the output folder.
        images: the predictions.

    Raises:
        InputError: the file cannot be written.
    """
    category = images.skeleton.to_category() | {"id": _CATEGORY_ID, "name": "person"}
    with (
        atomic_path(folder / "annotations.json") as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write(f'{{"info": {{}}, "licenses": [],\n"categories": {json.dumps([category])}')
        for key, entries in ("images", _images(images)), ("annotations", _annotations(images)):
            file.write(f',\n"{key}": ')
            write_json_list(file, entries)
        file.write("}\n")
    return []


def _images(images: PredictedImages) -> Iterator[dict[str, Any]]:
    for number, image in enumerate(images, 1):
        width, height = image.size
        yield {"id": number, "file_name": _file_name(image), "width": width, "height": height}


def _file_name(image: PredictedImage) -> str:
    if image.frame is None:
        return image.name
    return f"{image.output_name}/frame_{image.frame:06d}.png"  # CVAT's names of frames


def _annotations(images: PredictedImages) -> Iterator[dict[str, Any]]:
    annotation_id = 0
    for image_id, image in enumerate(images, 1):
        results = image.poses.to_coco(image_id, _CATEGORY_ID)
        for result, found in zip(results, image.poses.found, strict=True):
            annotation_id += 1
            result["keypoints"][2::3] = (2 * found).tolist()  # visible, or not labeled
            _, _, width, height = result["bbox"]
            yield {
                "id": annotation_id,
                **result,
                "num_keypoints": int(found.sum()),
                "area": round(width * height, 2),
                "iscrowd": 0,
                "segmentation": [],
            }
