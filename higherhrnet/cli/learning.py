"""train, check-data and scenes: annotated pictures → a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg
from tyro.extras import subcommand_type_from_defaults

from higherhrnet.cli.models import needs_torch
from higherhrnet.config import InputConfig
from higherhrnet.errors import InputError
from higherhrnet.recipes import RECIPES, AugmentConfig, TrainConfig, describe

if TYPE_CHECKING:
    Recipe = TrainConfig
else:
    # A subcommand a recipe, whose flags begin with the recipe's values.
    Recipe = subcommand_type_from_defaults(
        RECIPES, {name: describe(recipe) for name, recipe in RECIPES.items()}, prefix_names=False
    )


def train(config: Annotated[Recipe, arg(name="")]) -> int:
    """Train a network on annotated photographs, or go on with a training.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m higherhrnet train RECIPE …
    """
    needs_torch()
    from higherhrnet.training.loop import train as run

    return 0 if run(config) else 130


def check_data(
    sources: Positional[tuple[str, ...]],
    /,
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
    samples: int = 16,
    size: int = 512,
    augment: AugmentConfig = AugmentConfig(),
) -> int:
    """Say what training would trip over in data sets, and draw what the network would see.

    The exit code is 3 if anything is wrong.

    Args:
        sources: ANNOTATIONS[,PICTURES] each: a COCO keypoints file; the folder or .zip of its
            pictures, found beside it if not said.
        out: A folder for findings.txt, each single case, and samples.jpg, a sheet of random
            samples with their targets.
        samples: How many samples.
        size: Pixels of a sample's side, a multiple of 32.
        augment: How samples are varied.
    """
    from higherhrnet.data.check import check_datasets

    if not sources or samples < 1:
        raise InputError("name annotation files to check, and at least one of --samples")
    shown = InputConfig(size)
    sound = check_datasets(sources, out)
    if out:
        needs_torch()
        from higherhrnet.training.sample_sheet import write_sheet

        print(write_sheet(out / "samples.jpg", sources, augment, shown, samples))
    return 0 if sound else 3


def scenes(
    out: Positional[Path],
    /,
    count: int = 100,
    seed: int = 0,
    size: int = 256,
    people: tuple[int, int] = (1, 5),
    skeleton: str = "coco",
) -> int:
    """Draw scenes of people with exact keypoints, as a COCO data set: images and annotations.

    Args:
        out: The folder to write to; not one that holds a data set.
        count: How many.
        seed: The same seed, the same scenes.
        size: Pixels of a side.
        people: The least and the most in a scene; crowds without keypoints come on top.
        skeleton: coco, crowdpose or a .toml file of keypoints among theirs.
    """
    from higherhrnet.io.images import MIN_SIDE
    from higherhrnet.skeleton import load_skeleton
    from higherhrnet.synthetic.scenes import write_scenes

    if count < 1 or size < MIN_SIDE:
        raise InputError(f"scenes needs a --count of at least 1 and a --size of {MIN_SIDE}")
    if not 0 <= people[0] <= people[1]:
        raise InputError(f"--people must be a least and a most, not {people[0]} {people[1]}")
    if (out / "annotations.json").exists():
        raise InputError(f"{out} holds a data set; draw into another folder")
    drawn = {"height": size, "width": size, "people": people}
    print(write_scenes(out, count, seed, skeleton=load_skeleton(skeleton), **drawn))
    return 0
