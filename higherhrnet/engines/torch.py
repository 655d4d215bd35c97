"""The PyTorch engine, for .safetensors files on a CUDA or MPS device or on the CPU."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.engines.base import FunctionEngine, Precision
from higherhrnet.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from higherhrnet.network.build import PoseNetwork

_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def load_torch(
    path: Path, precision: Precision, threads: int, compile_network: bool = False
) -> tuple[TorchEngine, Header]:
    """Loads a .safetensors file into PyTorch, on a GPU if there is one, else on the CPU.

    Batch normalizations are folded into the convolutions, and the weights are stored in the
    precision of the computation.

    Args:
        path: the .safetensors file.
        precision: the arithmetic of the network.
        threads: number of CPU threads.
        compile_network: compile the network for each shape of input.

    Raises:
        InputError: the file is not a model of this package.
    """
    import torch

    from higherhrnet.network import checkpoint

    if path.suffix == ".onnx":
        raise InputError(f"{path}: PyTorch runs .safetensors files; use --engine onnxruntime")
    model, header = checkpoint.load(path)
    device = "cpu"
    if torch.cuda.is_available():
        device = "cuda"
    elif torch.backends.mps.is_available():
        device = "mps"
    if device == "cpu":
        torch.set_num_threads(threads)
    _fold_batch_norms(model)
    model = model.to(device, getattr(torch, _DTYPES[precision]))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile_network:
        # Networks are called with few shapes. Compiling for any shape would be slower.
        torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)
        model.compile(dynamic=False)
    return TorchEngine(model, device, precision, compiled=compile_network), header


def _fold_batch_norms(model: nn.Module) -> None:
    """Folds each batch normalization into the convolution before it, in place."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for parent in list(model.modules()):
        for (name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
                transposed = isinstance(conv, nn.ConvTranspose2d)
                setattr(parent, name, fuse_conv_bn_eval(conv, norm, transposed))
                setattr(parent, norm_name, nn.Identity())


class TorchEngine(FunctionEngine):
    """A network on a device, in evaluation mode. Its weights may change between calls.

    Args:
        model: the network, already on the device.
        device: cpu, cuda or mps.
        precision: the arithmetic of the network.
        compiled: whether the network is compiled, for the description.
    """

    def __init__(
        self,
        model: PoseNetwork,
        device: str,
        precision: Precision = "f32",
        *,
        compiled: bool = False,
    ) -> None:
        import torch

        self.model, self.device, self.precision = model, device, precision
        self.cuda_engine = self if device == "cuda" else None
        threads = f", {torch.get_num_threads()} threads" if device == "cpu" else ""
        description = f"torch {torch.__version__}, {device.upper()}, {precision}{threads}"
        description += ", compiled" if compiled else ""
        super().__init__(description, self._run)

    def _run(self, images: FloatArray) -> list[FloatArray]:
        import torch

        batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
        return [maps.cpu().numpy() for maps in self.forward_tensor(batch)]

    def forward_tensor(self, images: Tensor) -> list[Tensor]:
        """Runs the network on tensors that are on the device.

        Args:
            images: (B, 3, H, W) normalized images on the device.

        Returns:
            The network's outputs on the device, coarse to fine, in float32.
        """
        import torch

        dtype = getattr(torch, _DTYPES[self.precision])
        with (
            torch.inference_mode(),
            torch.autocast(self.device, dtype, enabled=self.precision != "f32"),
        ):
            return [maps.float() for maps in self.model(images)]
