"""Image → the network's input at one scale, and points on a map → points on the image.

It corresponds to `geometry.py` and to `CpuProcessing.preprocess`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from higherhrnet.config.header import Header
from higherhrnet.geometry import FIRST_PIXEL_CENTER, FLIP_SHIFT
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor


@dataclass(frozen=True)
class View:
    """The transform of an image to the network's input at one scale.

    All values are float64, as in `geometry.Resize`.
    """

    width: Tensor
    """Width of the network's input in pixels, a whole number."""
    height: Tensor
    """Height of the network's input in pixels, a whole number."""
    factor: Tensor
    """Pixels of the network's input per pixel of the image."""
    x: Tensor
    """The position of the image's origin on the network's input, in pixels."""
    y: Tensor


def resize_for_network(
    program: Program, image: Tensor, header: Header, scale: float, base_scale: float
) -> View:
    """Computes the transform of an image; see `geometry.resize_for_network`.

    Args:
        program: the program.
        image: (h, w, 3).
        header: the header of the model; its convention is not udp.
        scale: the scale.
        base_scale: the scale at which the sides are multiples of 64.
    """
    size = header.inference.size or header.input.size
    height, width = (image.size(axis).cast(np.float64) for axis in (0, 1))
    portrait = width < height
    base_short = np.float64((base_scale * size + 63) // 64 * 64)
    ratio = program.constant(base_short) / height.op("Min", width)
    base_long = ((ratio * height.op("Max", width) + 63) / 64).op("Floor") * 64
    short = np.float64(int(base_short * scale / base_scale))
    long = (base_long * (scale / base_scale)).op("Floor")
    w, h = program.where(portrait, short, long), program.where(portrait, long, short)
    factor = program.where(portrait, w / width, h / height)
    origin = []
    for side, length in ((w, width), (h, height)):
        center = length / 2
        if header.input.convention == "reference":
            center = (center + 0.5).op("Floor")
        origin.append(side / 2 - factor * center)
    return View(w, h, factor, *origin)


def network_input(program: Program, image: Tensor, view: View, header: Header) -> Tensor:
    """Resizes and normalizes an image.

    Args:
        program: the program.
        image: (h, w, 3) RGB, uint8.
        view: the transform.
        header: the header of the model.

    Returns:
        (V, 3, H, W); V is 2 with the flipped view, otherwise 1.
    """
    mean, std = (255 * np.array(x, np.float32) for x in (header.input.mean, header.input.std))
    pixels = _warp(program, image, view, FIRST_PIXEL_CENTER[header.input.convention])
    plain = pixels * np.reciprocal(std)[:, None, None] - (mean / std)[:, None, None]
    if not header.inference.flip:
        return plain.expand_dims(0)
    flipped = plain.flip(2)
    if header.inference.align_flip:
        last = np.iinfo(np.int64).max
        shifted = [flipped.part(FLIP_SHIFT, last, 2), flipped.part(-FLIP_SHIFT, last, 2)]
        flipped = program.concat(shifted, 2)
    return program.stack([plain, flipped], 0)


def _warp(program: Program, image: Tensor, view: View, center: float) -> Tensor:
    """Resizes an image bilinearly to (3, H, W) whole numbers; black outside the image."""
    vertical = _taps(program, view.height, image.size(0), view.factor, view.y, center)
    horizontal = _taps(program, view.width, image.size(1), view.factor, view.x, center)
    total: Tensor | None = None
    for row, down in vertical:
        rows = image.take(row)
        for column, across in horizontal:
            pixels = rows.take(column, 1).transpose(2, 0, 1).cast(np.float32)
            part = pixels * (down.expand_dims(1) * across)
            total = part if total is None else total + part
    assert total is not None
    return total.op("Round")


def _taps(
    program: Program, size: Tensor, length: Tensor, factor: Tensor, origin: Tensor, center: float
) -> list[tuple[Tensor, Tensor]]:
    """Finds the two pixels of the image's axis between which each input pixel is interpolated.

    Returns:
        The indices of the nearer and the farther pixels and their weights; pixels outside the image
        have the weight 0.
    """
    positions = program.arange(size.cast(np.int64)).cast(np.float64) + center
    positions = (positions - origin) / factor - center
    before = positions.op("Floor")
    weight = (positions - before).cast(np.float32)
    index = before.cast(np.int64)
    taps = []
    for pixel, share in ((index, program.constant(np.float32(1)) - weight), (index + 1, weight)):
        inside = (pixel >= 0) & (pixel < length)
        taps.append((pixel.clip(0, length - 1), share * inside.cast(np.float32)))
    return taps


def to_image(positions: list[Tensor], view: View, stride: float, header: Header) -> list[Tensor]:
    """Transforms float32 x and y on a map to x and y in pixels of the image.

    Args:
        positions: x and y in pixels of the map in which people are decoded.
        view: the transform of the image to the network's input.
        stride: pixels of that input per pixel of the map.
        header: the header of the model.
    """
    center = FIRST_PIXEL_CENTER[header.input.convention]
    return [
        ((position.cast(np.float64) * stride - origin) / view.factor - center).cast(np.float32)
        for position, origin in zip(positions, (view.x, view.y), strict=True)
    ]
