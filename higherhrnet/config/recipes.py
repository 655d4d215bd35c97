"""Recipes: named training configurations.

They are those of the published weights, except for three of SWAHR's; see `_with_swahr`.

The recipe coco-w32-512 has the default values of `TrainConfig`; every other recipe changes a few of
them.
"""

from __future__ import annotations

from dataclasses import replace

from higherhrnet.config.data import DataConfig
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.offsets import OffsetDecodeConfig, OffsetTargetConfig
from higherhrnet.config.training import (
    LossConfig,
    OptimConfig,
    RunConfig,
    TargetConfig,
    TrainConfig,
)

_SIZES = {
    "w32-512": TrainConfig(),
    "w32-640": TrainConfig(input=InputConfig(640)),
    "w48-640": TrainConfig(ModelConfig(48), InputConfig(640), optim=OptimConfig(batch_size=10)),
}
_DATASETS = {"coco": DataConfig(), "crowdpose": DataConfig(skeleton="crowdpose")}
_DEKR_SIZES = {
    "w32-512": (ModelConfig(32, head="offsets"), InputConfig(512), 10),
    "w48-640": (ModelConfig(48, head="offsets"), InputConfig(640), 5),
}
"""The network, the input and the batch size of one process (4 and 8 GPUs)."""
_DEKR_DATASETS = {
    "coco": (OptimConfig(epochs=140, milestones=(90 / 140, 120 / 140)), OffsetTargetConfig(), 0.9),
    "crowdpose": (
        OptimConfig(epochs=300, milestones=(200 / 300, 260 / 300)),
        OffsetTargetConfig(center_sigma=2.0, min_area=0.0),
        0.8,
    ),
}
"""The schedule, the targets, and the factor of scores at scales other than 1."""


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


def _dekr(dataset: str, size: str) -> TrainConfig:
    """Returns the training of DEKR for a dataset and a size."""
    model, input_config, batch_size = _DEKR_SIZES[size]
    optim, targets, other_scales = _DEKR_DATASETS[dataset]
    decode = DecodeConfig(offsets=OffsetDecodeConfig(other_scales=other_scales))
    return TrainConfig(
        model,
        input_config,
        _DATASETS[dataset],
        targets=TargetConfig(offsets=targets),
        losses=LossConfig(heatmap=(1.0,)),
        optim=replace(optim, batch_size=batch_size),
        run=RunConfig(precision="f32"),
        inference=InferenceConfig(align_flip=True, decode=decode),
    )


def _create_recipes() -> dict[str, TrainConfig]:
    recipes = {}
    for dataset, data in _DATASETS.items():
        for size, config in _SIZES.items():
            recipe = replace(config, data=data)
            recipes[f"{dataset}-{size}"] = recipe
            recipes[f"{dataset}-{size}-swahr"] = _with_swahr(recipe)
    for dataset in _DEKR_DATASETS:
        for size in _DEKR_SIZES:
            recipes[f"dekr-{dataset}-{size}"] = _dekr(dataset, size)
    return recipes


RECIPES = _create_recipes()
"""The recipes by name: dataset, width and input size, and `-swahr` for adaptive heatmaps with the
batch size, learning rate, schedule and warmup of SWAHR; `dekr-` is for networks that predict
offsets, with the training of DEKR."""


def describe(recipe: TrainConfig) -> str:
    """Describes a recipe in one line, for help texts."""
    skeleton = "CrowdPose" if recipe.data.skeleton == "crowdpose" else "COCO"
    swahr = "; adaptive heatmaps, batch size, learning rate, schedule and warmup of SWAHR"
    losses = swahr if recipe.losses.swahr else ""
    network = "DEKR (centers and offsets): " if recipe.model.head == "offsets" else ""
    return f"{network}{skeleton}, width {recipe.model.width}, {recipe.input.size} pixels{losses}"
