"""All decoders order equal peaks as the reference implementation does on a CPU.

The maps have plateaus, equal peaks, and peaks in the outermost cells, which enlargement repeats.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from torch import Tensor

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.decoding import peaks as numpy_peaks
from higherhrnet.decoding import upsample as numpy_upsample
from higherhrnet.decoding.tag_decoder import TagDecoder
from higherhrnet.engines.base import FunctionEngine
from higherhrnet.geometry import resize_for_network
from higherhrnet.graph.decode.peaks import NO_PEAK, find_peaks
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.upsample import Upsampled
from higherhrnet.inference.gpu_pixels import GpuTagDecoder, TensorMaps, TensorPixels
from higherhrnet.reference import decoder as reference
from tests.graph.test_decode import (
    HEIGHT,
    IMAGE,
    WIDTH,
    assert_same,
    fixed_network,
    run_program,
    session_of,
)

CELLS = {(): (48, 64), (2,): (24, 32), (4,): (16, 24), (2, 2): (16, 16)}
"""Height and width in cells for each enlargement; with 64 pixels per peak or more."""
COUNT = 4
Found = list[NDArray[np.int64]]
"""For each keypoint (N, 2) x and y of its peaks."""


def bf16(values: FloatArray) -> FloatArray:
    """Rounds values to 8 significant bits, as bf16 networks do, so that enlargement is exact."""
    rounded: FloatArray = torch.from_numpy(values).bfloat16().float().numpy()
    return rounded


def maps_with_ties(factors: tuple[int, ...], seed: int) -> FloatArray:
    """(COUNT, h, w) heatmaps: one with few levels, a plateau, plateaus in noise, single borders."""
    rng = np.random.default_rng(seed)
    height, width = CELLS[factors]
    maps = rng.random((COUNT, height, width), np.float32)
    maps[0] = rng.integers(0, 12, (height, width)) / 16
    maps[1] = 0.625
    maps[2] = bf16(maps[2])
    for _ in range(4):
        y, x = rng.integers(0, height - 3), rng.integers(0, width - 3)
        maps[2, y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = 0.9375
    # Peaks of any value in the outermost cells, and noise below the threshold elsewhere.
    maps[3] *= 0.05
    rim = np.ones((height, width), bool)
    rim[1:-1, 1:-1] = False
    rim &= rng.random(rim.shape) < 0.2
    maps[3][rim] = rng.random(rim.sum(), np.float32) + np.float32(0.1)
    return maps


def enlarged(maps: FloatArray, factors: tuple[int, ...]) -> Tensor:
    tensor: Tensor = torch.from_numpy(maps)[None]
    for factor in factors:
        tensor = F.interpolate(tensor, scale_factor=factor, mode="bilinear", align_corners=False)
    return tensor


def with_numpy(maps: FloatArray, factors: tuple[int, ...], config: DecodeConfig) -> Found:
    heatmaps = numpy_upsample.Upsampled(maps[:, None], factors)
    bounds = heatmaps.block_maxima()[:, 0]
    found = numpy_peaks.find_peaks(
        heatmaps, bounds, config.min_peak, config.peak_window, config.max_people
    )
    return [np.stack([found.x, found.y], 1)[found.keypoint == k] for k in range(COUNT)]


def with_torch(maps: FloatArray, factors: tuple[int, ...], config: DecodeConfig) -> Found:
    heatmaps, size = torch.from_numpy(maps), (maps.shape[1], maps.shape[2])
    for factor in factors:
        size = size[0] * factor, size[1] * factor
    if len(factors) > 1:
        heatmaps = enlarged(maps, factors[:-1])[0]
    pixels = TensorPixels(TensorMaps(heatmaps, heatmaps[:, None], (size,), size, False))
    found, _ = pixels.find_peaks(config)
    return [np.stack([found.x, found.y], 1)[found.keypoint == k] for k in range(COUNT)]


def as_graph(maps: FloatArray, factors: tuple[int, ...], config: DecodeConfig) -> Found:
    program = Program()
    values = program.input("maps", np.float32)
    heatmaps = Upsampled(program, values, 1, factors, config.peak_window // 2)
    outputs = find_peaks(program, heatmaps, COUNT, config)
    x, y, score = run_program(program, outputs, maps=maps[:, None])
    return [np.stack([x[k], y[k]], 1)[score[k] > NO_PEAK] for k in range(COUNT)]


@pytest.mark.parametrize("find", [with_numpy, with_torch, as_graph])
@pytest.mark.parametrize("factors", CELLS)
@pytest.mark.parametrize("seed", range(4))
def test_equal_peaks_are_in_the_order_of_the_reference_implementation(
    find: Callable[[FloatArray, tuple[int, ...], DecodeConfig], Found],
    factors: tuple[int, ...],
    seed: int,
) -> None:
    maps = maps_with_ties(factors, seed)
    heatmaps = enlarged(maps, factors)
    places, scores, _ = reference.nms_and_top_k(heatmaps, heatmaps[..., None])
    found = find(maps, factors, DecodeConfig())
    for k in range(COUNT):
        np.testing.assert_array_equal(found[k], places[k][scores[k] > DecodeConfig().min_peak])


def people_of(decoder: str, levels: list[FloatArray], header: Header) -> Poses:
    """Decodes maps with a decoder."""
    if decoder == "graph":
        return session_of(fixed_network(levels), header)(IMAGE)
    predictor = Predictor(FunctionEngine("maps", lambda images: levels), header)
    if decoder == "numpy":
        return predictor(IMAGE)
    merged = TagDecoder(header).merge_views(levels)
    device, size = GpuTagDecoder(header), (HEIGHT, WIDTH)
    tensors = {1.0: [torch.from_numpy(maps) for maps in merged]}
    transform = resize_for_network(*size, HEIGHT, 1, 1)
    maps = device.merge_scales(tensors, size, header.inference)
    return device.decode(maps, transform, header.inference)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["numpy", "torch", "graph"])
@pytest.mark.parametrize("seed", range(3))
def test_people_with_ties_equal_those_of_the_reference_implementation(
    decoder: str, seed: int
) -> None:
    """A network without transposed convolution: heatmaps at stride 4, with peaks at the borders."""
    config = InferenceConfig(flip=False)
    header = Header(ModelConfig(deconv_kernels=()), input=InputConfig(HEIGHT), inference=config)
    rng = np.random.default_rng(seed)
    shape = 17, HEIGHT // 4, WIDTH // 4
    heatmaps = bf16(0.08 * rng.random(shape, np.float32))
    tags = np.float32(0.05) * rng.standard_normal(shape, np.float32)
    for person in range(5):
        for k in rng.permutation(17)[:12].tolist():
            # In a border cell, where peaks are two pixels wide; some values are equal.
            along = int(rng.integers(2, min(shape[1:]) - 3))
            y, x = [(0, along), (-1, along), (along, 0), (along, -1)][rng.integers(4)]
            heatmaps[k, y, x] = rng.choice([0.625, rng.random() * 0.5 + 0.25])
            tags[k, y, x] = 3 * person
    poses = people_of(decoder, [np.concatenate([heatmaps, tags])[None]], header)
    people, scores = reference.decode(
        enlarged(heatmaps, (4,)), enlarged(tags, (4,))[..., None], header.skeleton.grouping_order
    )
    found = people[..., 2] > 0
    transform = resize_for_network(HEIGHT, WIDTH, HEIGHT, 1, 1)
    positions = transform.to_image(people[..., :2], (HEIGHT, WIDTH)) * found[..., None]
    assert_same(poses, Poses(positions.astype(np.float32), people[..., 2], scores, header.skeleton))
