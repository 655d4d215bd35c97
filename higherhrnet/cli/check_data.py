"""check-data: reports problems in datasets and draws training samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from higherhrnet.config.data import AugmentConfig
from higherhrnet.config.flags import flag, required
from higherhrnet.config.model import InputConfig
from higherhrnet.errors import InputError, require, require_packages


def check_data(
    datasets: Annotated[Positional[tuple[str, ...]], required("DATASET ...")],
    /,
    out: Annotated[Path | None, flag("neither is written", "PATH", ("-o",))] = None,
    samples: int = 16,
    size: int = 512,
    augment: AugmentConfig = AugmentConfig(),
) -> int:
    """Report problems in datasets, and draw training samples as the network receives them.

    The exit code is 3 if an error is found; notes do not affect it.

    Args:
        datasets: Datasets, each as ANNOTATIONS[,IMAGES]: a COCO keypoints file, and the folder or
            .zip file of its images, searched for next to the annotation file if it is omitted.
        out: A folder for findings.txt, which lists all errors and notes, and samples.jpg, which
            shows random training samples with their targets.
        samples: Number of training samples in samples.jpg.
        size: Length in pixels of the sides of a training sample; a multiple of 32.
        augment: Data augmentation of the training samples.
    """
    from higherhrnet.data.check import check_datasets

    require(len(datasets) > 0, "name at least one dataset: ANNOTATIONS[,IMAGES]")
    require(samples >= 1, f"--samples must be at least 1, not {samples}")
    input_config = InputConfig(size)
    if out:
        require_packages("check-data --out", "torch", "torch")
    valid = check_datasets(datasets, out)
    if out:
        from higherhrnet.training.sample_sheet import write_sheet

        sheet = out / "samples.jpg"
        try:
            print(write_sheet(sheet, datasets, augment, input_config, samples))
        except InputError as error:
            if valid:
                raise
            print(f"{sheet}: not written: {error}")
    return 0 if valid else 3
