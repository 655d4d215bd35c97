"""Training configurations reject invalid values, and every field is documented."""

import ast
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from higherhrnet.config import data, inference, model, offsets, training
from higherhrnet.config.data import AugmentConfig, DataConfig
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.offsets import OffsetTargetConfig
from higherhrnet.config.training import (
    LossConfig,
    OptimConfig,
    RunConfig,
    TargetConfig,
    TrainConfig,
)
from higherhrnet.errors import InputError

OFFSETS = ModelConfig(head="offsets")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (DataConfig, {"overfit": 0}, "overfit must be at least 1, not 0"),
        (DataConfig, {"workers": -1}, "workers must not be negative: -1"),
        (AugmentConfig, {"scale": (1.5, 0.75)}, "scale must be a minimum above 0 and a maximum"),
        (AugmentConfig, {"base_side": "wide"}, "base_side must be short or long, not 'wide'"),
        (AugmentConfig, {"flip": 1.5}, "flip must be between 0 and 1, not 1.5"),
        (AugmentConfig, {"rotation": -1}, "rotation must not be negative: -1"),
        (AugmentConfig, {"translation": -1}, "translation must not be negative: -1"),
        (TargetConfig, {"sigma": 0}, "sigma must be above 0, not 0"),
        (TargetConfig, {"scale_base": 0}, "scale_base must be above 0, not 0"),
        (LossConfig, {"heatmap": (1.0, -1.0)}, "heatmap must be weights that are not negative"),
        (LossConfig, {"heatmap": ()}, "heatmap must be weights that are not negative"),
        (LossConfig, {"push": -1}, "push must not be negative: -1"),
        (LossConfig, {"push_type": "sum"}, "push_type must be exp or max, not 'sum'"),
        (OptimConfig, {"batch_size": 0}, "batch_size must be at least 1, not 0"),
        (OptimConfig, {"accumulate": 0}, "accumulate must be at least 1, not 0"),
        (OptimConfig, {"epochs": 0}, "epochs must be above 0, not 0"),
        (OptimConfig, {"lr": float("nan")}, "lr must be above 0, not nan"),
        (OptimConfig, {"schedule": "sine"}, "schedule must be one of steps, linear, cosine"),
        (OptimConfig, {"warmup": -1}, "warmup must not be negative: -1"),
        (OptimConfig, {"ema": 1.0}, "ema must be above 0 and below 1, not 1.0"),
        (OptimConfig, {"clip": 0}, "clip must be above 0, not 0"),
        (RunConfig, {"max_hours": 0}, "max_hours must be above 0, not 0"),
        (RunConfig, {"eval_every": 0}, "eval_every must be above 0, not 0"),
        (RunConfig, {"preview_images": -1}, "preview_images must not be negative: -1"),
        (TrainConfig, {"losses": LossConfig((1.0,))}, "losses.heatmap must have 2 weights"),
        (
            TrainConfig,
            {"model": ModelConfig(deconv_kernels=(4, 4, 4)), "losses": LossConfig((1.0,) * 4)},
            "model.deconv_kernels must have at most 2 values for training, not (4, 4, 4)",
        ),
        (
            TrainConfig,
            {
                "input": InputConfig(convention="unbiased"),
                "inference": InferenceConfig(align_flip=True),
            },
            "align_flip needs the reference convention",
        ),
        (
            TrainConfig,
            {"input": InputConfig(convention="udp")},
            "input.convention udp is only for inference with MMPose's UDP weights; train with",
        ),
        (
            TrainConfig,
            {"model": OFFSETS, "losses": LossConfig((1.0,), swahr=True)},
            "losses.swahr applies only to networks with --model.head tags; this one has "
            "--model.head offsets",
        ),
        (
            TrainConfig,
            {"model": OFFSETS, "losses": LossConfig((1.0,), push=0.1)},
            "losses.push applies only to networks with --model.head tags",
        ),
        (
            TrainConfig,
            {"model": OFFSETS, "losses": LossConfig((1.0,)), "targets": TargetConfig(2.0, True)},
            "targets.scale_aware applies only to networks with --model.head tags",
        ),
        (
            TrainConfig,
            {"model": replace(OFFSETS, deconv_kernels=()), "losses": LossConfig((1.0,))},
            "model.deconv_kernels applies only to networks with --model.head tags",
        ),
        (TrainConfig, {"model": OFFSETS}, "losses.heatmap must have 1 weight, one for each res"),
        (
            TrainConfig,
            {"losses": LossConfig(offset=0.1)},
            "losses.offset applies only to networks with --model.head offsets or tags-and-offsets; "
            "this one has --model.head tags",
        ),
        (
            TrainConfig,
            {"targets": TargetConfig(offsets=OffsetTargetConfig(radius=2))},
            "targets.offsets applies only to networks with --model.head offsets",
        ),
        (LossConfig, {"offset": -1}, "offset must not be negative: -1"),
        (OffsetTargetConfig, {"radius": 0}, "radius must be at least 1, not 0"),
        (OffsetTargetConfig, {"center_sigma": 0}, "center_sigma must be above 0, not 0"),
        (OffsetTargetConfig, {"min_area": -1}, "min_area must not be negative: -1"),
        (OffsetTargetConfig, {"size": "area"}, "size must be reference or box, not 'area'"),
        (OffsetTargetConfig, {"overlap": "all"}, "overlap must be cell or keypoint, not 'all'"),
    ],
)
def test_invalid_values_are_rejected(
    kind: Any,  # noqa: ANN401
    values: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError) as error:
        kind(**values)
    assert str(error.value).startswith(message)
    assert "\n" not in error.value.args[0]


def test_every_field_has_a_docstring() -> None:
    """tyro takes the help text from the string below a field, or from the class of a group."""
    for module in (model, inference, offsets, data, training):
        assert module.__file__
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        groups = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name.endswith("Config")]
        assert groups
        for group in groups:
            assert ast.get_docstring(group)
            for field, following in pairwise(group.body):
                if isinstance(field, ast.AnnAssign) and "Config" not in ast.unparse(field):
                    assert isinstance(following, ast.Expr), ast.unparse(field)
