"""scenes: draws synthetic people with exact keypoints, as a COCO dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from higherhrnet.errors import reading, require


def scenes(
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
    count: int = 100,
    seed: int = 0,
    size: int = 256,
    people: tuple[int, int] = (1, 5),
    skeleton: Annotated[str, arg(metavar="NAME|FILE")] = "coco",
) -> int:
    """Draw synthetic scenes of people with exact keypoints, as a COCO dataset.

    Args:
        out: The folder to write to; it must not contain a dataset already.
        count: Number of images.
        seed: Seed of the random numbers; equal seeds give equal scenes.
        size: Width and height of the images in pixels.
        people: Minimum and maximum number of people per image. Crowds, and people without a visible
            keypoint, are not annotated with keypoints.
        skeleton: The keypoints to annotate: coco, crowdpose, or a .toml file that defines a subset
            of their keypoints.
    """
    from higherhrnet.io.images import MIN_SIDE
    from higherhrnet.io.skeleton_files import load_skeleton
    from higherhrnet.synthetic.scenes import write_scenes

    require(count >= 1, f"--count must be at least 1, not {count}")
    require(size >= MIN_SIDE, f"--size must be at least {MIN_SIDE}, not {size}")
    low, high = people
    require(0 <= low <= high, f"--people must be a minimum and a maximum, not {low} {high}")
    with reading(out):
        exists = (out / "annotations.json").exists()
    require(not exists, f"{out} already contains a dataset; use another folder")
    path = write_scenes(
        out, count, seed, skeleton=load_skeleton(skeleton), height=size, width=size, people=people
    )
    print(path)
    return 0
