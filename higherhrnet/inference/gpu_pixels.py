"""Decoding by tags on the device of the network, in operations of PyTorch.

The maps stay on the device. What comes back are the highest peaks of each heatmap with their tags,
single heatmap values for the adjustment, and the pixels that refinement finds: a few kilobytes for
each image. Grouping runs on the CPU.

Maps are enlarged and searched as in the reference implementation. PyTorch does not specify the
order of equal peaks on a GPU. As in all decoders, it is that of the reference implementation on a
CPU: for keypoints with equal peaks, the peaks of the entire heatmap are copied and sorted there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import local

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from higherhrnet.arrays import FloatArray, IndexArray
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.decoding.aggregate import NOT_FINITE, deferred_factor
from higherhrnet.decoding.decode import DecodedPeople, decode_pixels
from higherhrnet.decoding.drawable import DrawableMaps
from higherhrnet.decoding.peaks import Peaks
from higherhrnet.decoding.tag_decoder import BaseTagDecoder
from higherhrnet.decoding.top_k import top_k_indices
from higherhrnet.errors import require

_VALUES_PER_BATCH = 2**25
"""Number of tags whose distances refinement computes at the same time; limits the use of memory."""


@dataclass(frozen=True)
class TensorMaps:
    """The maps of one image on a device."""

    heatmaps: Tensor
    """(K, h, w), about 0 to 1."""
    tags: Tensor
    """(K or 1, T, h', w'), one tag per view."""
    tag_sizes: tuple[tuple[int, int], ...]
    """The heights and widths to which the tags are enlarged, one after the other."""
    decode_size: tuple[int, int]
    """Height and width of the maps in which people are decoded."""
    align_corners: bool
    """Whether maps are enlarged with the centers of their corner cells aligned."""


class TensorPixels:
    """Enlarged maps on a device; see `decoding.pixels.Pixels`.

    Args:
        maps: the maps.
        position_weight: see `DecodeConfig`.
    """

    def __init__(self, maps: TensorMaps, position_weight: float = 0.0) -> None:
        self._maps, self._position_weight = maps, position_weight
        self.height, self.width = maps.decode_size

    @property
    def heatmaps(self) -> TensorPixels:
        """The object itself, whose `at` reads heatmaps."""
        return self

    @cached_property
    def _heatmaps(self) -> Tensor:
        return _enlarge(
            self._maps.heatmaps[None], self._maps.decode_size, self._maps.align_corners
        )[0]

    @cached_property
    def _tags(self) -> Tensor:
        tags = self._maps.tags
        if weight := self._position_weight:
            count, _, height, width = tags.shape
            y, x = torch.meshgrid(
                *(torch.arange(side, device=tags.device) for side in (height, width)), indexing="ij"
            )
            positions = torch.stack([x, y]) * np.float32(weight / min(height, width)).item()
            tags = torch.cat([tags, positions.to(tags).expand(count, -1, -1, -1)], 1)
        for size in self._maps.tag_sizes:
            tags = _enlarge(tags, size, self._maps.align_corners)
        return tags

    def at(self, k: IndexArray, y: IndexArray, x: IndexArray) -> FloatArray:
        """(M, 1) single pixels of heatmaps; see `PixelReader`."""
        pixels = torch.from_numpy((k * self.height + y) * self.width + x)
        values: FloatArray = (
            self._heatmaps.flatten()[pixels.to(self._heatmaps.device)].cpu().numpy()
        )
        return values[:, None]

    def find_peaks(self, config: DecodeConfig) -> tuple[Peaks, FloatArray]:
        """Finds the highest peaks of each heatmap; see `Pixels`."""
        heatmaps, window = self._heatmaps, config.peak_window
        highest = max_pool2d(heatmaps[None], window, stride=1, padding=window // 2)[0]
        peaks = (heatmaps * (highest == heatmaps)).flatten(1)
        count = min(config.max_people, peaks.shape[1])
        pixels = peaks.topk(min(count + 1, peaks.shape[1])).indices
        found, values = self._read(peaks, slice(None), pixels)
        scores = values[:, :, 0]
        equal = (scores[:, 1:] == scores[:, :-1]) & (scores[:, :-1] > config.min_peak)
        found, values = found[:, :count], values[:, :count]
        if len(tied := np.flatnonzero(equal.any(1))):
            keypoints = torch.from_numpy(tied).to(peaks.device)
            order = [top_k_indices(row, count) for row in peaks[keypoints].cpu().numpy()]
            pixels = torch.from_numpy(np.stack(order)).to(peaks.device)
            found[tied], values[tied] = self._read(peaks, keypoints, pixels)
        k, rank = np.nonzero(values[:, :, 0] > config.min_peak)
        y, x = divmod(found[k, rank], self.width)
        return Peaks(k, x, y, values[k, rank, 0]), values[k, rank, 1:]

    def _read(
        self, peaks: Tensor, keypoints: Tensor | slice, pixels: Tensor
    ) -> tuple[IndexArray, FloatArray]:
        """Copies (N, M) pixels of N keypoints, and (N, M, 1 + T) their peak values and tags."""
        tags = self._tags.flatten(2).expand(len(peaks), -1, -1)[keypoints]
        tags = tags.gather(2, pixels[:, None].expand(-1, tags.shape[1], -1))
        scores = peaks[keypoints].gather(1, pixels)
        return _to_host(pixels, torch.cat([scores[:, None], tags], 1).transpose(1, 2))

    def find_missing(
        self, person_tags: FloatArray, k: IndexArray
    ) -> tuple[IndexArray, IndexArray, FloatArray]:
        """Finds missing keypoints in all pixels of their maps; see `Pixels`."""
        device = self._heatmaps.device
        queries, keypoints = (torch.from_numpy(a).to(device) for a in (person_tags, k))
        batch = max(1, _VALUES_PER_BATCH // self._tags[0].numel())
        pixels, scores = [], []
        for start in range(0, len(k), batch):
            tags, index = queries[start : start + batch], keypoints[start : start + batch]
            heatmaps = self._heatmaps[index].flatten(1)
            offset = self._tags[index.clamp(max=len(self._tags) - 1)].flatten(2) - tags[..., None]
            distance = offset.square_().sum(1).sqrt_()
            best = (heatmaps - distance.round_()).argmax(1)  # the first of equal values
            pixels.append(best)
            scores.append(heatmaps.gather(1, best[:, None]))
        found, values = _to_host(torch.cat(pixels), torch.cat(scores))
        y, x = divmod(found, self.width)
        return x, y, values[:, 0]


class GpuTagDecoder(BaseTagDecoder[TensorMaps]):
    """Decodes by tags on the device of the network; see `decoders.Decoder`."""

    def merge_views(self, levels: Sequence[Tensor]) -> Sequence[Tensor]:
        """Returns the maps as they are, because `GpuProcessing.forward` has merged the views."""
        return levels

    def merge_scales(
        self,
        scales: Mapping[float, Sequence[Tensor]],
        input_size: tuple[int, int],
        config: InferenceConfig,
    ) -> TensorMaps:
        """Merges the maps of all scales; see `Decoder.merge_scales`."""
        heatmaps, tags = scales[1 if 1 in scales else next(iter(scales))]
        size = input_size if config.project else _size(scales[max(scales)][0])
        with _side_stream(heatmaps.device):
            tags, tag_sizes = self._enlarge_tags(tags, _size(heatmaps), size)
            if len(scales) > 1:
                resized = [self._enlarge(each[0][None], size)[0] for each in scales.values()]
                heatmaps = torch.stack(resized).mean(0)
            finite = bool(torch.isfinite(heatmaps.sum() + tags.sum()))
        require(finite, NOT_FINITE)
        return TensorMaps(heatmaps, tags, tag_sizes, size, self._align_corners)

    def _enlarge_tags(
        self, tags: Tensor, fine: tuple[int, int], size: tuple[int, int]
    ) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
        """Enlarges tags where `aggregate.merge_scales` does, so that positions are appended alike.

        Returns:
            The tags, and the sizes to which they remain to be enlarged, one after the other.
        """
        if self._align_corners:
            return self._enlarge(tags, size), ()
        sizes: tuple[tuple[int, int], ...] = ()
        factors: tuple[int, ...] = ()
        for new_size in (fine, size):
            sizes = (*sizes, new_size)
            if factor := deferred_factor(_size(tags), factors, new_size):
                factors = (*factors, factor)
                continue
            for each in sizes:
                tags = self._enlarge(tags, each)
            sizes = factors = ()
        return tags, sizes

    def decode_people(self, maps: TensorMaps, config: DecodeConfig) -> DecodedPeople:
        """Finds the people of one image in its maps, which stay on the device."""
        with _side_stream(maps.heatmaps.device):
            pixels = TensorPixels(maps, config.position_weight)
            return decode_pixels(pixels, self._skeleton, config, maps.align_corners)

    def drawable(self, maps: TensorMaps) -> DrawableMaps:
        """Copies the heatmaps, and the tags enlarged to their size, to the host."""
        with _side_stream(maps.heatmaps.device):
            tags = self._enlarge(maps.tags, _size(maps.heatmaps)).permute(0, 2, 3, 1)
            return DrawableMaps(maps.heatmaps.cpu().numpy(), tags.cpu().numpy())

    def _enlarge(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        return _enlarge(maps, size, self._align_corners)


def _size(maps: Tensor) -> tuple[int, int]:
    """The height and width of maps."""
    height, width = maps.shape[-2:]
    return height, width


def _enlarge(maps: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Resizes (N, C, h, w) maps bilinearly; maps that have the size are returned as they are."""
    if _size(maps) == size:
        return maps
    enlarged = interpolate(maps, size, mode="bilinear", align_corners=align_corners)
    if not align_corners:
        # Pixels beyond the centers of the last cells are equal, but PyTorch may round differently.
        for axis, cells in zip((2, 3), _size(maps), strict=True):
            pixels = enlarged.shape[axis]
            if (repeated := int(pixels / cells / 2 + 0.5)) > 1:
                last = enlarged.narrow(axis, pixels - 1, 1)
                enlarged.narrow(axis, pixels - repeated, repeated - 1).copy_(last)
    return enlarged


def _to_host(pixels: Tensor, values: Tensor) -> tuple[IndexArray, FloatArray]:
    """Copies (...) indices and (..., C) float32 values together, which waits only once."""
    both = torch.cat([pixels.int().view(torch.float32)[..., None], values], -1).cpu().numpy()
    return both[..., 0].copy().view(np.int32).astype(np.intp), both[..., 1:]


_streams = local()


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """Runs operations on a CUDA stream of this thread, not after the network's next batch.

    The tensors that are used must be complete, and the results copied before the block ends.
    """
    with torch.inference_mode():
        if device.type != "cuda":
            yield
            return
        if not hasattr(_streams, "stream"):
            _streams.stream = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(_streams.stream):
            yield
