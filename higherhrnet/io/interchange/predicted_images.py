"""Reads the predictions in a folder, from which the files for other programs are made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from higherhrnet.errors import InputError, reading
from higherhrnet.io.listing import output_names
from higherhrnet.io.predictions import JSONL_FILE
from higherhrnet.poses.poses import Poses
from higherhrnet.poses.skeleton import Skeleton


@dataclass(frozen=True)
class PredictedImage:
    """The poses in one image or frame."""

    name: str
    """The name of the image or video: its path relative to the folder that was given."""
    output_name: str
    """The name without the suffix, unless two sources differ only in the suffix."""
    path: str
    """The absolute path or the network address of the image or video."""
    size: tuple[int, int]
    """The width and the height of the upright image in pixels."""
    frame: int | None
    """The index of the frame in its video, from 0; None for an image file."""
    poses: Poses
    """The people in pixels of the upright image."""


class PredictedImages:
    """The images and frames of a folder of predictions, in the order of the run.

    Each iteration reads the file again, so that the predictions need not fit into memory.

    Args:
        folder: the output folder of `higherhrnet predict`.
        skeleton: the skeleton of the predictions.
    """

    def __init__(self, folder: Path, skeleton: Skeleton) -> None:
        self.folder, self.skeleton = folder, skeleton

    def __iter__(self) -> Iterator[PredictedImage]:
        """Yields each image and frame.

        Raises:
            InputError: the file cannot be read, or an earlier version has written it.
        """
        for entry in self._entries():
            if "width" not in entry:
                raise InputError(
                    f"{self.folder}: {JSONL_FILE} was written by an earlier version of "
                    "higherhrnet, which did not record the sizes of the images; predict again "
                    "without --resume"
                )
            yield PredictedImage(
                entry["file_name"],
                self._output_names[entry["file_name"]],
                entry["path"],
                (entry["width"], entry["height"]),
                entry.get("frame"),
                Poses.from_coco(entry["people"], self.skeleton),
            )

    def videos(self) -> Iterator[tuple[str, Iterator[PredictedImage]]]:
        """Yields the output name and the frames of each video."""
        frames = (image for image in self if image.frame is not None)
        yield from groupby(frames, lambda image: image.output_name)

    @cached_property
    def _output_names(self) -> dict[str, str]:
        return output_names({entry["file_name"] for entry in self._entries()})

    def _entries(self) -> Iterator[dict[str, Any]]:
        path = self.folder / JSONL_FILE
        if not path.is_file():  # nothing was predicted
            return
        with reading(path), path.open(encoding="utf-8") as file:
            for line in file:
                if "image_id" in (entry := json.loads(line)):
                    yield entry
