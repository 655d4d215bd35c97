"""Processing on the device of the network, which reduces the copies between host and device.

For an image of 512×512 pixels and its flipped view, the input of a w32 network has 6 MB and its
maps have 13 MB. Here the device receives the pixels as bytes (0.8 MB), normalizes and flips them,
and merges the maps of both views and strides. Maps of tags stay on the device, where `gpu_pixels`
decodes them; those of offsets (6.7 MB) are copied back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from higherhrnet.arrays import FloatArray, Image
from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import HeadName
from higherhrnet.decoding.decoders import Decoder, load_decoder
from higherhrnet.engines.base import TensorEngine, engine_errors
from higherhrnet.geometry import FLIP_SHIFT
from higherhrnet.inference.processing import Processing, normalization

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.cuda import Event


class GpuProcessing(Processing):
    """Normalizes and flips images, and merges maps, on the device on which the network runs.

    Args:
        engine: the network.
        header: the header of the model.
    """

    def __init__(self, engine: TensorEngine, header: Header) -> None:
        import torch

        self.engine: TensorEngine = engine
        self._keeps_maps = header.model.head == "tags"
        if self._keeps_maps:
            from higherhrnet.inference.gpu_pixels import GpuTagDecoder

            self.decoder: Decoder = GpuTagDecoder(header)
        else:
            self.decoder = load_decoder(header)
        self.streams = 2  # one copies while the other computes
        self._launch = Lock()
        # Copied only once, because a copy in `forward` would wait for the work of other streams.
        self._gain, self._bias, self._flip_index = (
            torch.as_tensor(values, device=engine.device)
            for values in (*normalization(header), header.skeleton.flip_index)
        )
        self._merge: MergeViews = partial(
            _MERGE[header.model.head],
            flip_index=self._flip_index,
            align_corners=header.input.align_corners,
        )

    def preprocess(self, image: Image, config: InferenceConfig) -> Image:
        """Adds a batch dimension: (H, W, 3) image → (1, H, W, 3)."""
        return image[None]

    def forward(self, inputs: NDArray[np.uint8], config: InferenceConfig) -> Sequence[Any]:
        """Runs the network on (B, H, W, 3) images.

        Returns:
            The maps that `Decoder.merge_views` returns for one image, with a batch dimension: those
            of tags as tensors on the device, others as arrays.

        Raises:
            InputError: the device failed, for example because it ran out of memory.
        """
        import torch

        with engine_errors(self.engine.description, inputs.shape), torch.inference_mode():
            with self._launch:
                levels = self.engine.forward_tensor(self._views(torch.from_numpy(inputs), config))
                maps, finished = self._start_copies(self._merge(levels, 1 + config.flip))
            if finished:
                finished.synchronize()
            return maps if self._keeps_maps else [each.numpy() for each in maps]

    def merge_arrays(self, levels: Sequence[FloatArray]) -> Sequence[Any]:
        """Merges outputs that did not come from the network as `forward` merges its outputs.

        Args:
            levels: for one image, outputs with one row for each view.

        Returns:
            What `forward` returns for one image.
        """
        import torch

        tensors = [torch.from_numpy(level).to(self.engine.device) for level in levels]
        merged = self._merge(tensors, len(levels[0]))
        return merged if self._keeps_maps else [maps.cpu().numpy() for maps in merged]

    def merge_views(self, levels: Sequence[Any]) -> Sequence[Any]:
        """Returns the maps of an image without the batch dimension; `forward` merged the views."""
        return [maps[0] for maps in levels]

    def _start_copies(self, maps: list[Tensor]) -> tuple[list[Tensor], Event | None]:
        """Starts to copy maps to the host unless they are decoded on the device.

        Returns:
            The maps, and on a CUDA device the event after which they are complete.
        """
        import torch

        if self.engine.device == "cuda" and self._keeps_maps:
            return maps, torch.cuda.current_stream().record_event()
        if self.engine.device == "cuda":
            return _copy_async(maps)
        return maps if self._keeps_maps else [each.cpu() for each in maps], None

    def _views(self, images: Tensor, config: InferenceConfig) -> Tensor:
        """(B, H, W, 3) images → (V · B, 3, H, W) views on the device, first all plain ones."""
        import torch

        device = self.engine.device
        if device == "cuda":
            images = images.pin_memory()  # otherwise the copy would wait for the previous batch
        images = images.to(device, non_blocking=True).permute(0, 3, 1, 2)
        plain = images * self._gain - self._bias
        if not config.flip:
            return plain
        flipped = plain.flip(3)
        if config.align_flip:
            flipped[..., :-FLIP_SHIFT] = flipped[..., FLIP_SHIFT:].clone()
        return torch.cat([plain, flipped])


def _merge_tags(
    levels: Sequence[Tensor], views: int, flip_index: Tensor, align_corners: bool
) -> list[Tensor]:
    """Merges views and strides as `aggregate.merge_views` does, for a batch.

    Args:
        levels: the network's outputs for what `GpuProcessing` makes of a batch of images.
        views: number of views of each image.
        flip_index: for each keypoint, the index of the keypoint that replaces it in a flip.
        align_corners: whether the centers of the corner cells of all strides are aligned.

    Returns:
        (B, K, h, w) heatmaps and (B, K or 1, V, h', w') tags.
    """
    import torch
    from torch.nn.functional import interpolate

    num_keypoints, fine = len(flip_index), levels[-1].shape[2:]
    heatmaps = []
    for level in levels:
        plain, *flipped = _split_views(level[:, :num_keypoints], views)
        mean = (plain + flipped[0][:, flip_index].flip(3)) / 2 if flipped else plain
        heatmaps.append(interpolate(mean, fine, mode="bilinear", align_corners=align_corners))
    plain, *flipped = _split_views(levels[0][:, num_keypoints:], views)
    if plain.shape[1] > 1:
        flipped = [view[:, flip_index] for view in flipped]
    tags = torch.stack([plain, *(view.flip(3) for view in flipped)], 2)
    return [torch.stack(heatmaps).mean(0), tags]


def _merge_offsets(
    levels: Sequence[Tensor], views: int, flip_index: Tensor, align_corners: bool
) -> list[Tensor]:
    """Merges views as `offset_maps.merge_views` does, for a batch; arguments as `_merge_tags`.

    Returns:
        (B, K + 1, h, w) heatmaps and (B, 2K, h, w) offsets.
    """
    import torch

    heatmaps, offsets = (_split_views(level, views) for level in levels)
    if views == 1:
        return [heatmaps[0], offsets[0]]
    with_center = torch.cat([flip_index, flip_index.new_tensor([len(flip_index)])])
    return [
        (heatmaps[0] + heatmaps[1][:, with_center].flip(3)) / 2,
        _mean_of_offsets(offsets, flip_index),
    ]


def _mean_of_offsets(offsets: Tensor, flip_index: Tensor) -> Tensor:
    """(V, B, 2K, h, w) offsets of the plain and the flipped view → (B, 2K, h, w) their mean."""
    by_keypoint = offsets.reshape(*offsets.shape[:2], -1, 2, *offsets.shape[3:])
    flipped = by_keypoint[1][:, flip_index].flip(4) * offsets.new_tensor([-1, 1]).view(2, 1, 1)
    return (offsets[0] + flipped.flatten(1, 2)) / 2


def _merge_tags_and_offsets(
    levels: Sequence[Tensor], views: int, flip_index: Tensor, align_corners: bool
) -> list[Tensor]:
    """Merges views and strides as `CenterDecoder.merge_views` does, for a batch.

    The arguments are as in `_merge_tags`.

    Returns:
        What `_merge_tags` returns, (B, h', w') center heatmaps and (B, 2K, h', w') offsets.
    """
    *tag_levels, last = levels
    maps = _split_views(last, views)
    centers, offsets = maps[:, :, 0], maps[:, :, 1:]
    if views == 1:
        merged = [centers[0], offsets[0]]
    else:
        mean = (centers[0] + centers[1].flip(2)) / 2
        merged = [mean, _mean_of_offsets(offsets, flip_index)]
    return [*_merge_tags(tag_levels, views, flip_index, align_corners), *merged]


MergeViews = Callable[..., list["Tensor"]]
"""Merges the views of a batch on the device; see `_merge_tags`."""
_MERGE: dict[HeadName, MergeViews] = {
    "tags": _merge_tags,
    "offsets": _merge_offsets,
    "tags-and-offsets": _merge_tags_and_offsets,
}
"""How the views are merged, for each head."""


def _split_views(maps: Tensor, views: int) -> Tensor:
    """(V · B, C, h, w) → (V, B, C, h, w)."""
    return maps.reshape(views, -1, *maps.shape[1:])


def _copy_async(maps: Sequence[Tensor]) -> tuple[list[Tensor], Event]:
    """Starts copies to pinned memory on a separate CUDA stream; the event marks their end."""
    import torch

    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        copies = [each.to("cpu", non_blocking=True) for each in maps]
        for each in maps:
            each.record_stream(stream)
        return copies, stream.record_event()
