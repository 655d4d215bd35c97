"""check-data: reports problems in data sets and draws training samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from higherhrnet.config import InputConfig
from higherhrnet.errors import require, require_packages
from higherhrnet.flags import flag, required
from higherhrnet.recipes import AugmentConfig


def check_data(
    sources: Annotated[Positional[tuple[str, ...]], required("DATASET ...")],
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
            .zip file of its images, searched for next to the annotation file if it is omitted.
        out: A folder for findings.txt, which lists every problem, and samples.jpg, which shows
            random training samples with their targets.
        samples: Number of training samples in samples.jpg.
        size: Length in pixels of the sides of a training sample; a multiple of 32.
        augment: Random changes of the training samples.
    """
    from higherhrnet.data.check import check_datasets

    require(len(sources) > 0, "name at least one data set: ANNOTATIONS[,IMAGES]")
    require(samples >= 1, f"--samples must be at least 1, not {samples}")
    input_config = InputConfig(size)
    valid = check_datasets(sources, out)
    if out:
        require_packages("check-data --out", "torch", "torch")
        from higherhrnet.training.sample_sheet import write_sheet

        print(write_sheet(out / "samples.jpg", sources, augment, input_config, samples))
    return 0 if valid else 3
