"""train: trains a network on annotated images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg
from tyro.extras import subcommand_type_from_defaults

from higherhrnet.config.recipes import RECIPES, describe
from higherhrnet.config.training import TrainConfig
from higherhrnet.errors import require_packages

if TYPE_CHECKING:
    Recipe = TrainConfig
else:
    # Each recipe is a subcommand whose flags have the recipe's values as defaults.
    Recipe = subcommand_type_from_defaults(
        RECIPES, {name: describe(recipe) for name, recipe in RECIPES.items()}, prefix_names=False
    )


def train(config: Annotated[Recipe, arg(name="")]) -> int:
    """Train a network on annotated images, or resume a training run.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m higherhrnet train RECIPE …
    """
    require_packages("train", "train", "torch", "safetensors", "tensorboard", "matplotlib")
    from higherhrnet.training.loop import run_training

    return 0 if run_training(config) else 130
