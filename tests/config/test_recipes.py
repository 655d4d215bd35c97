"""Recipes have the values of the papers, and flags on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import dacite
import pytest

from docs.command_reference import help_text
from higherhrnet.config.data import AugmentConfig
from higherhrnet.config.recipes import RECIPES
from higherhrnet.config.training import TrainConfig
from tests.conftest import RunMain

PAPER = {f"{data}-{size}" for data in ("coco", "crowdpose")
         for size in ("w32-512", "w32-640", "w48-640")}  # fmt: skip


DEKR = {f"dekr-{data}-{size}" for data in ("coco", "crowdpose") for size in ("w32-512", "w48-640")}


def test_every_configuration_of_the_papers_has_a_recipe() -> None:
    assert set(RECIPES) == PAPER | {f"{name}-swahr" for name in PAPER} | DEKR


def differences(before: Any, after: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401
    """The values of `after` that differ from `before`, by their full names."""
    changed: dict[str, Any] = {}
    for field in fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if is_dataclass(old):
            changed |= differences(old, new, f"{prefix}{field.name}.")
        elif old != new:
            changed[f"{prefix}{field.name}"] = new
    return changed


SWAHR_WIDE = {"optim.batch_size": 10, "optim.lr": 1.2e-4, "run.sync_bn": True}
WIDE = {"model.width": 48, "input.size": 640, "optim.batch_size": 10}
ADAPTIVE = {
    "losses.swahr": True, "optim.batch_size": 20, "optim.lr": 2.5e-4, "optim.scale_lr": True,
    "optim.schedule": "linear", "optim.warmup": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes"), [("w32-512", {}), ("w32-640", {"input.size": 640}), ("w48-640", WIDE)]
)
def test_recipes_change_only_what_the_papers_change(name: str, changes: dict[str, Any]) -> None:
    default = TrainConfig()
    crowdpose = {"data.skeleton": "crowdpose"}
    adaptive = changes | ADAPTIVE | (SWAHR_WIDE if changes == WIDE else {})
    min_peak = {"inference.decode.min_peak": 0.12} if name == "w32-512" else {}
    assert differences(default, RECIPES[f"coco-{name}"]) == changes
    assert differences(default, RECIPES[f"crowdpose-{name}"]) == changes | crowdpose
    assert differences(default, RECIPES[f"coco-{name}-swahr"]) == adaptive | min_peak
    assert differences(default, RECIPES[f"crowdpose-{name}-swahr"]) == adaptive | crowdpose


@pytest.mark.parametrize(
    ("size", "width", "pixels", "batch_size"), [("w32-512", 32, 512, 10), ("w48-640", 48, 640, 5)]
)
@pytest.mark.parametrize(
    ("data", "epochs", "milestones", "center_sigma", "min_area", "other_scales", "skeleton"),
    [
        ("coco", 140, [90, 120], 4, 32 * 32, 0.9, None),
        ("crowdpose", 300, [200, 260], 2, 0, 0.8, "crowdpose"),
    ],
)
def test_the_recipes_of_dekr_have_the_values_of_its_paper(
    data: str,
    epochs: int,
    milestones: list[int],
    center_sigma: float,
    min_area: float,
    other_scales: float,
    skeleton: str | None,
    size: str,
    width: int,
    pixels: int,
    batch_size: int,
) -> None:
    """Section 4 of the paper and the configurations that its authors published."""
    recipe = RECIPES[f"dekr-{data}-{size}"]
    optim, losses, targets = recipe.optim, recipe.losses, recipe.targets
    assert (recipe.model.head, recipe.model.width, recipe.input.size) == ("offsets", width, pixels)
    assert (recipe.data.skeleton, recipe.input.convention) == (skeleton, "reference")
    assert (optim.batch_size, optim.epochs, optim.lr) == (batch_size, epochs, 1e-3)
    assert [round(m * optim.epochs, 6) for m in optim.milestones] == milestones
    assert (optim.schedule, optim.warmup, optim.weight_decay) == ("steps", 0, 0)
    assert (optim.clip, optim.ema, optim.accumulate, optim.scale_lr) == (None, None, 1, False)
    assert recipe.augment == AugmentConfig()  # that of HigherHRNet
    assert recipe.run.precision == "f32"
    assert (losses.heatmap, losses.offset) == ((1,), 0.03)
    assert (targets.sigma, targets.offsets.center_sigma) == (2, center_sigma)
    assert (targets.offsets.radius, targets.offsets.background) == (4, 0.1)
    assert targets.offsets.min_area == min_area
    assert (targets.offsets.size, targets.offsets.overlap) == ("reference", "cell")
    assert targets.offsets.unlabeled_centers
    assert (recipe.inference.flip, recipe.inference.align_flip) == (True, True)
    assert recipe.inference.decode.offsets.other_scales == other_scales


def test_defaults_are_those_of_the_paper() -> None:
    """Section 4 of the paper and the authors' published w32_512_adam_lr1e-3.yaml."""
    paper = RECIPES["coco-w32-512"]
    model, optim, augment, losses = paper.model, paper.optim, paper.augment, paper.losses
    assert (model.width, model.deconv_kernels, model.deconv_blocks) == (32, (4,), 4)
    assert model.tag_per_keypoint
    assert (paper.input.size, paper.input.convention) == (512, "reference")
    assert (optim.batch_size, optim.epochs, optim.lr) == (12, 300, 1e-3)
    assert [round(m * optim.epochs, 6) for m in optim.milestones] == [200, 260]
    assert (optim.schedule, optim.warmup, optim.weight_decay) == ("steps", 0, 0)
    assert (optim.clip, optim.ema, optim.accumulate, optim.scale_lr) == (None, None, 1, False)
    assert (augment.rotation, augment.scale, augment.base_side) == (30, (0.75, 1.5), "short")
    assert (augment.translation, augment.flip) == (0.2, 0.5)
    assert (augment.color, augment.paste, augment.mask_padding) == (0, 0, True)
    assert (paper.targets.sigma, paper.targets.scale_aware) == (2, False)
    assert (losses.heatmap, losses.pull, losses.push) == ((1, 1), 1e-3, 1e-3)
    assert (losses.push_type, losses.swahr) == ("exp", False)
    assert paper.data.mask


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_configuration_file_of_a_run_contains_every_setting(name: str) -> None:
    recipe = RECIPES[name]
    recipe = replace(recipe, data=replace(recipe.data, train=("a.json,images,0.5", "b.json")))
    text = json.dumps(asdict(recipe), default=str)
    restored = dacite.from_dict(
        TrainConfig, json.loads(text), dacite.Config(strict=True, cast=[tuple, Path])
    )
    assert restored == recipe


def help_by_flag(text: str) -> dict[str, str]:
    """The help text of each flag of a help page."""
    plain = re.sub("[│╭╮╰╯─]", " ", text)
    parts = re.split(r"\n  (--[a-z.-]+)", plain)
    return {
        name: " ".join(words.split()) for name, words in zip(parts[1::2], parts[2::2], strict=True)
    }


def flags_of(kind: Any, prefix: str = "--") -> Iterator[str]:  # noqa: ANN401
    """The flags of a dataclass of dataclasses; some groups add no prefix to their flags."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            without_prefix = field.name in ("data", "optim", "run")
            yield from flags_of(
                hints[field.name], prefix if without_prefix else f"{prefix}{field.name}."
            )
        else:
            yield f"{prefix}{field.name}".replace("_", "-")


def test_the_help_of_a_recipe_shows_its_values_and_explains_every_flag() -> None:
    explanations = help_by_flag(help_text("train coco-w48-640"))
    assert set(flags_of(TrainConfig)) <= explanations.keys()
    for flag in flags_of(TrainConfig):
        text = re.sub(r"^(, --\S+)*[^a-z]*", "", explanations[flag].partition("(default:")[0])
        assert len(text.split()) >= 3, f"{flag}: {explanations[flag]}"
    for flag, value in (("--model.width", "48"), ("--input.size", "640"), ("--batch-size", "10")):
        assert f"(default: {value})" in explanations[flag]


def test_no_flag_has_none_as_its_default() -> None:
    """A default of None or nothing is described in words."""
    for text in help_by_flag(help_text("train coco-w32-512")).values():
        assert not re.search(r"None|\(default: *\)", text), text


def test_the_help_of_train_lists_the_recipes() -> None:
    page = help_text("train")
    assert all(name in page for name in RECIPES)


@pytest.mark.parametrize("arguments", [["coco-w99-512"], [], ["coco-w32-512", "--fly"]])
def test_unknown_recipes_and_flags_exit_with_code_2(
    arguments: list[str], run_main: RunMain
) -> None:
    assert run_main("train", *arguments).returncode == 2
