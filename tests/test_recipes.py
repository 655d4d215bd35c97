"""Recipes against the papers' tables, and as flags and files that people see."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from higherhrnet import config, recipes
from higherhrnet.errors import InputError
from higherhrnet.plain import from_dict
from higherhrnet.recipes import (
    RECIPES,
    AugmentConfig,
    DataConfig,
    LossConfig,
    OptimConfig,
    RunConfig,
    TargetConfig,
    TrainConfig,
)

PLAIN = {f"{data}-{size}" for data in ("coco", "crowdpose")
         for size in ("w32-512", "w32-640", "w48-640")}  # fmt: skip


def test_every_paper_training_has_a_name_and_an_adaptive_form() -> None:
    assert set(RECIPES) == PLAIN | {f"{name}-swahr" for name in PLAIN}


def differences(one: Any, other: Any, at: str = "") -> dict[str, Any]:  # noqa: ANN401
    """What `other` has that `one` has not, by its full name."""
    found: dict[str, Any] = {}
    for field in fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if is_dataclass(mine):
            found |= differences(mine, theirs, f"{at}{field.name}.")
        elif mine != theirs:
            found[f"{at}{field.name}"] = theirs
    return found


WIDE = {"model.width": 48, "input.size": 640, "optim.batch_size": 10}
ADAPTIVE = {
    "losses.swahr": True, "optim.batch_size": 20, "optim.lr": 2.5e-4, "optim.scale_lr": True,
    "optim.schedule": "linear", "optim.warmup": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes"), [("w32-512", {}), ("w32-640", {"input.size": 640}), ("w48-640", WIDE)]
)
def test_recipes_are_what_the_papers_say_and_nothing_else(
    name: str, changes: dict[str, Any]
) -> None:
    paper = TrainConfig()
    crowd = {"data.skeleton": "crowdpose"}
    assert differences(paper, RECIPES[f"coco-{name}"]) == changes
    assert differences(paper, RECIPES[f"crowdpose-{name}"]) == changes | crowd
    assert differences(paper, RECIPES[f"coco-{name}-swahr"]) == changes | ADAPTIVE
    assert differences(paper, RECIPES[f"crowdpose-{name}-swahr"]) == changes | ADAPTIVE | crowd


def test_the_papers_values() -> None:
    """Section 4 of the paper and the authors' published w32_512_adam_lr1e-3.yaml."""
    paper = RECIPES["coco-w32-512"]
    model, optim, augment = paper.model, paper.optim, paper.augment
    assert (model.width, model.deconv_kernels, model.deconv_blocks) == (32, (4,), 4)
    assert model.tag_per_keypoint and (paper.input.size, paper.input.convention) == (
        512,
        "reference",
    )
    assert (optim.batch_size, optim.epochs, optim.lr) == (12, 300, 1e-3)
    assert [round(m * optim.epochs, 6) for m in optim.milestones] == [200, 260]
    assert (optim.schedule, optim.warmup, optim.weight_decay) == ("steps", 0, 0)
    assert (optim.clip, optim.ema, optim.accumulate, optim.scale_lr) == (None, None, 1, False)
    assert (augment.rotation, augment.scale, augment.base_side) == (30, (0.75, 1.5), "short")
    assert (augment.translation, augment.flip) == (0.2, 0.5)
    assert (augment.color, augment.paste, augment.mask_padding) == (0, 0, True)
    assert (paper.targets.sigma, paper.targets.scale_aware) == (2, False)
    losses = paper.losses
    assert (losses.heatmap, losses.pull, losses.push, losses.push_type) == (
        (1, 1),
        1e-3,
        1e-3,
        "exp",
    )
    assert paper.data.mask and not losses.swahr


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_comes_back_from_the_file_that_a_run_writes(name: str) -> None:
    recipe = RECIPES[name]
    recipe = replace(recipe, data=replace(recipe.data, train=("a.json,images,0.5", "b.json")))
    text = json.dumps(asdict(recipe), default=str)
    assert from_dict(TrainConfig, json.loads(text)) == recipe


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (DataConfig, {"overfit": 0}, "overfit"),
        (DataConfig, {"workers": -1}, "workers"),
        (AugmentConfig, {"scale": (1.5, 0.75)}, "scale"),
        (AugmentConfig, {"fit": "wide"}, "fit"),
        (AugmentConfig, {"flip": 1.5}, "flip"),
        (AugmentConfig, {"rotation": -1}, "rotation"),
        (TargetConfig, {"sigma": 0}, "sigma"),
        (LossConfig, {"heatmap": (1.0, -1.0)}, "heatmap"),
        (LossConfig, {"heatmap": ()}, "heatmap"),
        (LossConfig, {"tags": "sum"}, "tags"),
        (OptimConfig, {"batch_size": 0}, "batch_size"),
        (OptimConfig, {"epochs": 0}, "epochs"),
        (OptimConfig, {"lr": float("nan")}, "lr"),
        (OptimConfig, {"schedule": "sine"}, "schedule"),
        (OptimConfig, {"ema": 1.0}, "ema"),
        (OptimConfig, {"clip": 0}, "clip"),
        (RunConfig, {"max_hours": 0}, "max_hours"),
        (RunConfig, {"eval_every": 0}, "eval_every"),
        (TrainConfig, {"losses": LossConfig((1.0,))}, "needs 2 factors"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    kind: Any,  # noqa: ANN401
    values: dict[str, Any],
    said: str,
) -> None:
    with pytest.raises(InputError, match=said) as error:
        kind(**values)
    assert "\n" not in str(error.value)


def shown(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "higherhrnet", "train", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env={"COLUMNS": "100"})
    assert "Traceback" not in ended.stderr
    return ended


def helped(text: str) -> dict[str, str]:
    """What a help page says of each flag."""
    plain = re.sub("[│╭╮╰╯─]", " ", text)
    parts = re.split(r"\n\s+(--[a-z.-]+)", plain)
    return {
        name: " ".join(said.split()) for name, said in zip(parts[1::2], parts[2::2], strict=True)
    }


def leaves(kind: Any, at: str = "--") -> Iterator[str]:  # noqa: ANN401
    """The flags that a dataclass of dataclasses makes; some parts add no word to their flags."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            silent = field.name in ("data", "optim", "run")
            yield from leaves(hints[field.name], at if silent else f"{at}{field.name}.")
        else:
            yield f"{at}{field.name}".replace("_", "-")


def test_help_shows_a_recipes_values_and_explains_every_flag() -> None:
    page = shown("coco-w48-640", "--help")
    assert page.returncode == 0
    said = helped(page.stdout)
    assert set(leaves(TrainConfig)) <= said.keys()
    for flag in leaves(TrainConfig):
        explained = re.sub(r"^(, --\S+)*[^a-z]*", "", said[flag].partition("(default:")[0])
        assert len(explained.split()) >= 3, f"{flag}: {said[flag]}"
    for flag, value in (("--model.width", "48"), ("--input.size", "640"), ("--batch-size", "10")):
        assert f"(default: {value})" in said[flag]


def test_help_without_a_recipe_lists_them() -> None:
    page = shown("--help")
    assert page.returncode == 0
    assert all(name in page.stdout for name in RECIPES)


@pytest.mark.parametrize("arguments", [["coco-w99-512"], [], ["coco-w32-512", "--fly"]])
def test_what_is_no_recipe_or_flag_is_a_code_of_its_own(arguments: list[str]) -> None:
    assert shown(*arguments).returncode == 2


def test_every_field_has_a_docstring() -> None:
    """The string below it, from which tyro takes its help; a part explains itself."""
    for module in (config, recipes):
        assert module.__file__
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        groups = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name.endswith("Config")]
        assert groups
        for group in groups:
            assert ast.get_docstring(group)
            for field, after in pairwise(group.body):
                if isinstance(field, ast.AnnAssign) and "Config" not in ast.unparse(field):
                    assert isinstance(after, ast.Expr), ast.unparse(field)
