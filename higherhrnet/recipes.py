"""Recipes: named training configurations.

They are those of the published weights, except for three of SWAHR's; see `_with_swahr`.

The recipe coco-w32-512 has the default values of `TrainConfig`; every other recipe changes a few of
them.
"""

from __future__ import annotations

from dataclasses import replace

from higherhrnet.config import DecodeConfig, InferenceConfig, InputConfig, ModelConfig
from higherhrnet.train_config import DataConfig, OptimConfig, RunConfig, TrainConfig

_SIZES = {
    "w32-512": TrainConfig(),
    "w32-640": TrainConfig(input=InputConfig(640)),
    "w48-640": TrainConfig(ModelConfig(48), InputConfig(640), optim=OptimConfig(batch_size=10)),
}
_DATASETS = {"coco": DataConfig(), "crowdpose": DataConfig(skeleton="crowdpose")}


def _with_swahr(recipe: TrainConfig) -> TrainConfig:
    """Returns the recipe with the losses and the schedule of SWAHR, for 8 GPUs.

    Its authors published configurations for COCO with width 32 at 512 pixels, and for COCO and
    CrowdPose with width 48 at 640 pixels. The other recipes have the settings of the same width.
    """
    is_wide = recipe.model.width == 48
    optim = OptimConfig(
        batch_size=10 if is_wide else 20,
        lr=1.2e-4 if is_wide else 2.5e-4,
        scale_lr=True,
        schedule="linear",
        warmup=3,
        epochs=300,
    )
    inference = recipe.inference
    if recipe == TrainConfig():  # coco-w32-512
        inference = InferenceConfig(decode=DecodeConfig(min_peak=0.12))
    return replace(
        recipe,
        losses=replace(recipe.losses, swahr=True),
        optim=optim,
        run=RunConfig(sync_bn=is_wide),
        inference=inference,
    )


def _create_recipes() -> dict[str, TrainConfig]:
    recipes = {}
    for dataset, data in _DATASETS.items():
        for size, config in _SIZES.items():
            recipe = replace(config, data=data)
            recipes[f"{dataset}-{size}"] = recipe
            recipes[f"{dataset}-{size}-swahr"] = _with_swahr(recipe)
    return recipes


RECIPES = _create_recipes()
"""The recipes by name: dataset, width and input size, and `-swahr` for adaptive heatmaps with the
batch size, learning rate, schedule and warmup of SWAHR."""


def describe(recipe: TrainConfig) -> str:
    """Describes a recipe in one line, for help texts."""
    skeleton = "CrowdPose" if recipe.data.skeleton == "crowdpose" else "COCO"
    swahr = "; adaptive heatmaps, batch size, learning rate, schedule and warmup of SWAHR"
    losses = swahr if recipe.losses.swahr else ""
    return f"{skeleton}, width {recipe.model.width}, {recipe.input.size} pixels{losses}"
