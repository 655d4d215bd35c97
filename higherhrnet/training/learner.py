"""What a network is trained with: its losses, and the parts that no loss depends on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, Self, TypeVar

import torch
from torch import Tensor, nn

from higherhrnet.config.training import TrainConfig
from higherhrnet.data.dataset import AnnotatedImage
from higherhrnet.data.loader import Batch
from higherhrnet.errors import InputError
from higherhrnet.network.build import PoseNetwork

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_SLOW_FACTOR = 0.1
"""The factor of the learning rate for the modules in `OptimConfig.slow`."""


class Learner(nn.Module):
    """A network with its losses: a batch → named losses, all on the network's device.

    There is one subclass for each head of a network; see `learners`.

    Args:
        network: the network to train.
        config: the training configuration, with bf16 or f32 as the precision.

    Raises:
        InputError: a module to freeze or to train slowly does not exist.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: PoseNetwork, config: TrainConfig) -> None:
        super().__init__()
        self.network: PoseNetwork = network
        self.config = config
        for name, values in (("mean", config.input.mean), ("std", config.input.std)):
            pixel_values = 255 * torch.tensor(values).view(3, 1, 1)
            self.register_buffer(name, pixel_values, persistent=False)
        for module in self._selected_modules("freeze"):
            module.requires_grad_(False)

    @staticmethod
    def prepare(source: AnnotatedImage, config: TrainConfig) -> AnnotatedImage:
        """Changes the people of a training image before it is cropped; by default, nothing."""
        return source

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Computes the losses of a batch.

        Returns:
            Scalars by name, multiplied by their weights, so that their sum is the loss.
        """

    def normalize(self, images: Tensor) -> Tensor:
        """Converts (B, 3, H, W) pixel values to the values that the network expects."""
        return (images - self.mean) / self.std

    def autocast(self) -> torch.autocast:
        """Returns the context in which the network computes: bf16 or f32."""
        enabled = self.config.run.precision == "bf16"
        return torch.autocast(self.mean.device.type, torch.bfloat16, enabled=enabled)

    def compiled(self, function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """Returns a function of the network, compiled if the configuration says so."""
        return torch.compile(function) if self.config.run.compile else function

    def _selected_modules(self, flag: Literal["freeze", "slow"]) -> list[nn.Module]:
        """Returns the modules of the network that a flag names."""
        try:
            names = getattr(self.config.optim, flag)
            return [self.network.get_submodule(name) for name in names]
        except AttributeError as error:
            available = ", ".join(name for name, _ in self.network.named_children())
            raise InputError(f"--{flag}: {error}; available modules: {available}") from error

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups the trained parameters for an optimizer.

        Returns:
            For each group `params`, and `lr_factor`, the factor of its learning rate.
        """
        slow = {p for module in self._selected_modules("slow") for p in module.parameters()}
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = {
            1.0: [p for p in trained if p not in slow],
            _SLOW_FACTOR: [p for p in trained if p in slow],
        }
        return [
            {"params": params, "lr_factor": factor} for factor, params in groups.items() if params
        ]

    def train(self, mode: bool = True) -> Self:
        """Sets training or evaluation mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self._selected_modules("freeze"):
            module.eval()
        return self
