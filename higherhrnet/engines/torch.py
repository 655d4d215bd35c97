"""Networks in torch, on a GPU or the CPU; of what a GPU computes only merged maps leave it.

A w32's maps of a photograph at 512 pixels and its mirror image are 13 MB, and its input is 6 MB. A
GPU is given the picture's bytes instead, normalises and mirrors them, and merges the maps of both
views and strides before they are copied: 0.8 MB go there and 6.7 MB come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from higherhrnet.config import Header, InferenceConfig
from higherhrnet.decoding.aggregate import Maps, ScaleMaps, merge_scales
from higherhrnet.decoding.upsample import Array
from higherhrnet.engines.load import Precision, Runner
from higherhrnet.errors import InputError
from higherhrnet.inference.predictor import FLIP_SHIFT, Outputs, Predictor, PreprocessedImage
from higherhrnet.io.images import Image

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.cuda import Event

    from higherhrnet.network.higherhrnet import HigherHRNet

_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def load_torch(path: Path, precision: Precision, threads: int) -> tuple[TorchEngine, Header]:
    """Torch on CUDA or MPS where there is one, else on the CPU."""
    import torch

    from higherhrnet.network import checkpoint

    if path.suffix == ".onnx":
        raise InputError(f"{path}: torch runs .safetensors files; use --engine onnxruntime")
    model, header = checkpoint.load(path)
    there = [d for d in (torch.cuda, torch.backends.mps) if d.is_available()]
    device = "cpu" if not there else "cuda" if there[0] is torch.cuda else "mps"
    if device == "cpu":
        torch.set_num_threads(threads)
    _fold(model)
    model = model.to(device, getattr(torch, _DTYPES[precision]))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TorchEngine(model, device, precision), header


def _fold(model: nn.Module) -> None:
    """Makes each batch normalisation part of the convolution before it: a pass over maps less."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for parent in list(model.modules()):
        for (name, conv), (after, norm) in pairwise(list(parent.named_children())):
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
                transposed = isinstance(conv, nn.ConvTranspose2d)
                setattr(parent, name, fuse_conv_bn_eval(conv, norm, transposed))
                setattr(parent, after, nn.Identity())


class TorchEngine(Runner):
    """A network that is on a device, in evaluation mode; it may learn between the calls."""

    def __init__(self, model: HigherHRNet, device: str, precision: Precision = "f32") -> None:
        import torch

        self.model, self.device, self.precision = model, device, precision
        threads = f", {torch.get_num_threads()} threads" if device == "cpu" else ""
        where = f"{device.upper()}, {precision}{threads}"
        super().__init__(f"torch {torch.__version__}, {where}", self._maps)

    def _maps(self, images: Array) -> list[Array]:
        import torch

        batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
        return [maps.cpu().numpy() for maps in self.on_device(batch)]

    def on_device(self, views: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images on the device → the network's outputs there, float32."""
        import torch

        dtype = getattr(torch, _DTYPES[self.precision])
        lower = self.precision != "f32"
        with (
            torch.inference_mode(),
            torch.autocast(self.device, dtype, enabled=lower),
        ):
            return [maps.float() for maps in self.model(views)]


class DevicePredictor(Predictor):
    """A predictor that normalises, mirrors and merges where the network runs.

    Args:
        engine: a network on a device.
        header: what the network is.
        test: how to show it photographs and read its maps; the header's settings when None.
        batch_size: views of one size in a batch.
    """

    def __init__(
        self,
        engine: TorchEngine,
        header: Header,
        test: InferenceConfig | None = None,
        batch_size: int = 32,
    ) -> None:
        import torch

        runner = Runner(engine.description, self._look, streams=2)  # one copies, one computes
        super().__init__(runner, header, test, batch_size)
        self._network, self._launch = engine, Lock()
        # There once and for all: copying them later would wait for what the device is at.
        self._gain, self._bias, self._flip_index = (
            torch.as_tensor(values, device=engine.device)
            for values in (*self._normalisation, header.skeleton.flip_index)
        )

    def showing(self, flip: bool) -> DevicePredictor:
        """As the predictor."""
        test = replace(self.test, flip=flip)
        return DevicePredictor(self._network, self.header, test, self.batch_size)

    def merge(self, prepared: PreprocessedImage, outputs: Outputs) -> Maps:
        """One photograph's outputs → its heatmaps and tags."""
        merged = {scale: ScaleMaps(*(maps[0] for maps in pair)) for scale, pair in outputs.items()}
        return merge_scales(merged, self._grid(prepared))

    def _views(self, image: Image) -> NDArray[np.uint8]:
        return image[None]

    def _look(self, pictures: NDArray[np.uint8]) -> list[Array]:
        """(B, H, W, 3) RGB → (B, K, h, w) heatmaps and (B, K or 1, V, h', w') tags."""
        import torch

        with torch.inference_mode():
            with self._launch:
                levels = self._network.on_device(self._shown(torch.from_numpy(pictures)))
                merged = _merged(levels, 1 + self.test.flip, self._flip_index)
                copied = _copied(merged) if self._network.device == "cuda" else None
            if copied is None:
                return [maps.cpu().numpy() for maps in merged]
            maps, done = copied
            done.synchronize()
            return [each.numpy() for each in maps]

    def _shown(self, pictures: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 → (V · B, 3, H, W) on the device: all plain views, then mirrored."""
        import torch

        device = self._network.device
        if device == "cuda":
            pictures = pictures.pin_memory()  # else the copy would wait for the batch before
        pictures = pictures.to(device, non_blocking=True).permute(0, 3, 1, 2)
        plain = pictures * self._gain - self._bias
        if not self.test.flip:
            return plain
        mirrored = plain.flip(3)
        if self.test.align_flip:
            mirrored[..., :-FLIP_SHIFT] = mirrored[..., FLIP_SHIFT:].clone()
        return torch.cat([plain, mirrored])


def _merged(levels: Sequence[Tensor], count: int, flip: Tensor) -> list[Tensor]:
    """As `aggregate` merges, for a batch whose plain views come first, then the mirrored."""
    import torch
    from torch.nn.functional import interpolate

    num_keypoints, fine = len(flip), levels[-1].shape[2:]
    sums = []
    for level in levels:
        views = _apart(level[:, :num_keypoints], count)
        mean = views[0] if count == 1 else (views[0] + views[1][:, flip].flip(3)) / 2
        sums.append(interpolate(mean, fine, mode="bilinear"))
    plain, *mirrored = _apart(levels[0][:, num_keypoints:], count)
    if plain.shape[1] > 1:
        mirrored = [view[:, flip] for view in mirrored]
    tags = torch.stack([plain, *(view.flip(3) for view in mirrored)], 2)
    return [torch.stack(sums).mean(0), tags]


def _apart(maps: Tensor, count: int) -> Tensor:
    """(V · B, C, h, w) → (V, B, C, h, w)."""
    return maps.reshape(count, -1, *maps.shape[1:])


def _copied(merged: Sequence[Tensor]) -> tuple[list[Tensor], Event]:
    """Copies on their way into pinned memory, beside what else runs, and when they are there."""
    import torch

    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        copies = [maps.to("cpu", non_blocking=True) for maps in merged]
        for maps in merged:
            maps.record_stream(beside)
        return copies, beside.record_event()
