"""check-data: annotation files → the problems in them, and a sheet of training samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from higherhrnet.cli.options import require_torch
from higherhrnet.config import InputConfig
from higherhrnet.errors import require
from higherhrnet.flags import flag
from higherhrnet.recipes import AugmentConfig


def check_data(
    sources: Positional[tuple[str, ...]],
    /,
    out: Annotated[Path | None, flag("neither is written", "PATH", ("-o",))] = None,
    samples: int = 16,
    size: int = 512,
    augment: AugmentConfig = AugmentConfig(),
) -> int:
    """Report problems in data sets, and draw training samples as the network sees them.

    The exit code is 3 if a problem is found.

    Args:
        sources: Data sets, each as ANNOTATIONS[,IMAGES]: a COCO keypoints file, and the folder or
            .zip file of its images, which is found beside the annotation file if it is omitted.
        out: A folder for findings.txt, which lists every case, and samples.jpg, a sheet of random
            training samples with their targets.
        samples: Number of samples on the sheet.
        size: Length in pixels of a sample's sides, a multiple of 32.
        augment: Augmentation of the samples.
    """
    from higherhrnet.data.check import check_datasets

    require(len(sources) > 0, "name at least one annotation file")
    require(samples >= 1, f"--samples must be at least 1, not {samples}")
    input_config = InputConfig(size)
    valid = check_datasets(sources, out)
    if out:
        require_torch()
        from higherhrnet.training.sample_sheet import write_sheet

        print(write_sheet(out / "samples.jpg", sources, augment, input_config, samples))
    return 0 if valid else 3
