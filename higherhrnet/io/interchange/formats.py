"""The formats of other programs in which predictions can be written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from higherhrnet.io.interchange.coco_dataset import write_coco_dataset
from higherhrnet.io.interchange.deeplabcut import write_deeplabcut, write_deeplabcut_hdf5
from higherhrnet.io.interchange.format_names import FormatName
from higherhrnet.io.interchange.label_studio import write_label_studio
from higherhrnet.io.interchange.openpose import write_openpose, write_openpose_coco
from higherhrnet.io.interchange.predicted_images import PredictedImages
from higherhrnet.poses.skeleton import Skeleton

FORMATS: dict[FormatName, Callable[[Path, PredictedImages], list[str]]] = {
    "coco": write_coco_dataset,
    "deeplabcut": write_deeplabcut,
    "deeplabcut-h5": write_deeplabcut_hdf5,
    "label-studio": write_label_studio,
    "openpose": write_openpose,
    "openpose-coco": write_openpose_coco,
}
"""The function that writes each format: output folder and predictions → notes for the user."""


def save_predictions(folder: Path, formats: Sequence[FormatName], skeleton: Skeleton) -> list[str]:
    """Writes the predictions in a folder in formats of other programs.

    Args:
        folder: the output folder of `higherhrnet predict`. Each format has a folder in it.
        formats: keys of `FORMATS`.
        skeleton: the skeleton of the predictions.

    Returns:
        Notes on what was omitted.

    Raises:
        InputError: a format does not suit the predictions, or a file cannot be written.
    """
    images = PredictedImages(folder, skeleton)
    return [note for name in formats for note in FORMATS[name](folder / name, images)]
