"""The arithmetic of a training run."""

from __future__ import annotations

import sys
from dataclasses import replace

from higherhrnet.config.training import TrainConfig
from higherhrnet.hardware import computes_bf16
from higherhrnet.training.parallel import ProcessGroup
from higherhrnet.training.resume import saved_settings


def resolve_precision(config: TrainConfig, group: ProcessGroup) -> TrainConfig:
    """Replaces the precision `auto` by the one to use.

    It is that of the run to resume, if there is one. Otherwise it is bf16 if the devices of all
    processes compute in it, else f32. A message to stderr reports bf16 on a device that emulates
    it.

    Raises:
        InputError: the run to resume cannot be read.
    """
    precision, device = config.run.precision, group.device.type
    (any_emulates,) = group.maximum(not computes_bf16(device))
    if precision == "auto":
        saved = saved_settings(config.run.out) if config.run.resume else {}
        precision = saved.get("run.precision", "f32" if any_emulates else "bf16")
    if precision == "bf16" and any_emulates and group.is_main:
        print(
            f"training in bf16 is slow, because a {device} device of this run has no bf16 "
            "instructions; --precision f32 is faster",
            file=sys.stderr,
        )
    return replace(config, run=replace(config.run, precision=precision))
