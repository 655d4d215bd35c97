"""The convention `udp` equals MMPose 0.x's computation, which is repeated here step by step."""

from dataclasses import replace
from math import ceil

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from higherhrnet import Predictor
from higherhrnet.arrays import DoubleArray, FloatArray
from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.decoding.subpixel import locate_by_newton
from higherhrnet.decoding.upsample import Upsampled
from higherhrnet.decoding.whole_maps import resize
from higherhrnet.engines.base import Engine
from higherhrnet.geometry import resize_for_network, transform
from higherhrnet.poses.skeletons import COCO
from tests.decoding.aggregated_maps import aggregate

SIZE = 128
"""The input size of the predictors."""
IMAGES = [(96, 128), (150, 90), (64, 64), (61, 333), (301, 47), (480, 640)]
"""Heights and widths of images."""
SCALES = [(1.0,), (0.5, 1.0), (0.5, 1.0, 2.0)]


def naive_size(height: int, width: int, scale: float, min_scale: float) -> tuple[int, int]:
    """Width and height of the network's input."""
    short = ceil(min_scale * SIZE / 64) * 64
    if width < height:
        long = ceil(short / width * height / 64) * 64
        return int(short * scale / min_scale), int(long * scale / min_scale)
    long = ceil(short / height * width / 64) * 64
    return int(long * scale / min_scale), int(short * scale / min_scale)


def naive_covered(height: int, width: int, min_scale: float) -> tuple[float, float]:
    """Distances on the image between the outermost pixels of the network's input."""
    w, h = naive_size(height, width, min_scale, min_scale)
    if width < height:
        return width - 1, (h - 1) / (w - 1) * (width - 1)
    return (w - 1) / (h - 1) * (height - 1), height - 1


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize(("height", "width"), IMAGES)
def test_images_and_points_are_transformed_as_in_mmpose(
    height: int, width: int, scales: tuple[float, ...]
) -> None:
    covered = naive_covered(height, width, min(scales))
    points = np.array([[0, 0], [width - 1, height - 1], [width / 3, height / 5]])
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for scale in scales:
        w, h = naive_size(height, width, scale, min(scales))
        udp = resize_for_network(height, width, SIZE, scale, min(scales), "udp")
        assert (udp.width, udp.height) == (w, h)
        matrix = np.array([[(w - 1) / covered[0], 0, 0], [0, (h - 1) / covered[1], 0]])
        np.testing.assert_allclose(udp.matrix, matrix, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(udp.warp(image), cv2.warpAffine(image, matrix, (w, h)))
        for stride in (1, 2, 4):
            map_width, map_height = w // stride, h // stride
            on_map = points / covered * [map_width - 1, map_height - 1]
            restored = udp.to_image(on_map, (map_height, map_width))
            np.testing.assert_allclose(restored, points, atol=1e-9)
            across = on_map / [map_width - 1, map_height - 1] * [w - 1, h - 1]
            np.testing.assert_allclose(transform(points, udp.matrix), across, atol=1e-9)


def test_an_image_of_one_pixel_can_be_resized() -> None:
    udp = resize_for_network(1, 1, SIZE, convention="udp")
    np.testing.assert_array_equal(udp.to_image(np.zeros(2), (64, 64)), [0, 0])


@pytest.mark.parametrize(
    ("size", "new_size"),
    [((8, 12), (16, 24)), ((5, 7), (31, 20)), ((9, 6), (4, 3)), ((1, 4), (3, 9)), ((3, 3), (1, 1))],
)
def test_upsampling_with_aligned_corners_equals_torch(
    size: tuple[int, int], new_size: tuple[int, int]
) -> None:
    maps = np.random.default_rng(0).standard_normal((3, *size), np.float32)
    resized = resize(maps, *new_size, align_corners=True)
    np.testing.assert_allclose(
        resized, aligned(torch.from_numpy(maps)[None], *new_size)[0], atol=2e-6
    )
    if min(new_size) > 1:
        corners = np.ix_(range(3), (0, -1), (0, -1))
        np.testing.assert_allclose(resized[corners], maps[corners], atol=1e-6)


def aligned(maps: Tensor, height: int, width: int) -> Tensor:
    return interpolate(maps, (height, width), mode="bilinear", align_corners=True)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("scales", SCALES)
def test_maps_are_merged_as_in_mmpose(scales: tuple[float, ...], project: bool, flip: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs: dict[float, list[Tensor]] = {
        scale: [
            torch.rand(1 + flip, 34, int(24 * scale), int(16 * scale), generator=generator),
            torch.rand(1 + flip, 17, int(48 * scale), int(32 * scale), generator=generator),
        ]
        for scale in scales
    }
    size = (96, 64) if project else tuple(outputs[max(scales)][1].shape[2:])
    heatmaps, tags = [], []
    for scale in sorted(scales, reverse=True):
        low, high = outputs[scale]
        views = [aligned(low[:, :17], *high.shape[2:]) / 2 + high / 2]
        tag_views = [low[:1, 17:]]
        if flip:
            mirrored = views[0][1:].flip(3)[:, COCO.flip_index]
            views = [(views[0][:1] + mirrored) / 2]
            tag_views.append(low[1:, 17:].flip(3)[:, COCO.flip_index])
        heatmaps.append(aligned(views[0], *size))
        if scale == 1:
            tags = [aligned(view, *size)[0] for view in tag_views]
    arrays = {scale: [level.numpy() for level in levels] for scale, levels in outputs.items()}
    maps = aggregate(arrays, 17, COCO.flip_index, (96, 64) if project else None, True)
    assert maps.decode_size == size
    expected = torch.stack(heatmaps).mean(0)[0]
    np.testing.assert_allclose(maps.heatmaps, expected, atol=1e-5)
    np.testing.assert_allclose(maps.tags, torch.stack(tags, 1), atol=1e-5)


def gaussian(height: int, width: int, x: float, y: float, sigma: float = 2) -> FloatArray:
    rows, columns = np.mgrid[:height, :width]
    squared = (columns - x) ** 2 + (rows - y) ** 2
    return np.asarray(np.exp(-squared / (2 * sigma**2)), np.float32)


def naive_position(heatmap: FloatArray, x: int, y: int) -> DoubleArray:
    """MMPose's position of a peak: a step of Newton's method on the logarithm of the heatmap."""
    blurred = np.log(np.clip(cv2.GaussianBlur(heatmap, (3, 3), 0), 0.001, 50))
    f = np.pad(blurred.astype(np.float64), 1, mode="edge")
    x, y = x + 1, y + 1
    gradient = np.array([f[y, x + 1] - f[y, x - 1], f[y + 1, x] - f[y - 1, x]]) / 2
    xx = f[y, x + 1] - 2 * f[y, x] + f[y, x - 1]
    yy = f[y + 1, x] - 2 * f[y, x] + f[y - 1, x]
    neighbors = f[y, x + 1] + f[y + 1, x] + f[y, x - 1] + f[y - 1, x]
    xy = (f[y + 1, x + 1] - neighbors + 2 * f[y, x] + f[y - 1, x - 1]) / 2
    return np.array([x - 1, y - 1]) - np.linalg.inv([[xx, xy], [xy, yy]]) @ gradient


def locate(heatmap: FloatArray) -> tuple[DoubleArray, int, int]:
    """The position between pixels of the highest value of a map, and its pixel."""
    y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
    index: list[NDArray[np.intp]] = [np.array([value], np.intp) for value in (0, x, y)]
    position = locate_by_newton(Upsampled(heatmap[None, None], ()), *index)
    return position[0].astype(np.float64), int(x), int(y)


@pytest.mark.parametrize("seed", range(20))
def test_peaks_are_located_as_in_mmpose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = 24, 30
    x, y = rng.uniform(1, [width - 2, height - 2])
    heatmap = 0.9 * gaussian(height, width, x, y, 2 * rng.uniform(0.8, 1.3))
    heatmap += 0.3 * gaussian(height, width, x + 4, y - 3) + rng.uniform(0, 0.01, heatmap.shape)
    heatmap = heatmap.astype(np.float32)
    position, column, row = locate(heatmap)
    if 0 < column < width - 1 and 0 < row < height - 1:
        expected = naive_position(heatmap, column, row)
        np.testing.assert_allclose(position, expected, atol=1e-3)


@pytest.mark.parametrize("x", [0.0, 13.7, 14.25, 29.0])
@pytest.mark.parametrize("y", [0.0, 7.4, 23.0])
def test_the_centers_of_gaussians_are_located_also_at_the_border(x: float, y: float) -> None:
    position, _, _ = locate(gaussian(24, 30, x, y))
    np.testing.assert_allclose(position, [x, y], atol=1e-3)


def test_a_peak_without_a_maximum_stays_at_its_pixel() -> None:
    for heatmap in (np.ones((9, 9)), np.tile(np.linspace(0, 1, 9), (9, 1))):
        position, column, row = locate(heatmap.astype(np.float32))
        np.testing.assert_array_equal(position, [column, row])


class PerfectEngine(Engine):
    """Gaussians at known points of an image, at the positions of MMPose's training targets."""

    description, streams = "perfect", 1

    def __init__(self, points: DoubleArray, height: int, width: int, min_scale: float) -> None:
        self.points, self.covered = points, naive_covered(height, width, min_scale)

    def __call__(self, images: FloatArray) -> list[FloatArray]:
        views, _, height, width = images.shape
        levels = []
        for stride in (4, 2):
            h, w = height // stride, width // stride
            on_map = self.points / self.covered * [w - 1, h - 1]
            plain = np.stack([gaussian(h, w, x, y) for x, y in on_map])
            flipped = plain[list(COCO.flip_index), :, ::-1]
            levels.append(np.stack([plain, flipped][:views]))
        levels[0] = np.concatenate([levels[0], np.zeros_like(levels[0])], 1)
        return levels


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", SCALES[::2])
@pytest.mark.parametrize(("height", "width"), IMAGES[:5])
def test_keypoints_at_the_border_and_inside_are_restored(
    height: int, width: int, scales: tuple[float, ...], flip: bool, project: bool
) -> None:
    """At the first pixels, and at the last ones of the shorter side, they coincide with cells."""
    right, bottom = width - 1, height - 1
    points = np.random.default_rng(0).uniform(0.2, 0.8, (17, 2)) * [right, bottom]
    points[:6] = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right / 2, 0), (0, bottom / 2)]
    config = InferenceConfig(flip=flip, scales=scales, project=project)
    header = Header(input=InputConfig(SIZE, convention="udp"))
    engine = PerfectEngine(points, height, width, min(scales))
    (pose,) = Predictor(engine, header, config)(np.zeros((height, width, 3), np.uint8)).keypoints
    short, long = (0, 1) if width < height else (1, 0)
    pixel = min(right, bottom) / (SIZE - 1)  # of the network's input, on the image
    np.testing.assert_allclose(pose[:4, short], points[:4, short], atol=0.05 * pixel)
    first = points[:, long] == 0
    np.testing.assert_allclose(pose[first, long], 0, atol=0.05 * pixel)
    np.testing.assert_allclose(pose, points, atol=pixel)


def test_refined_keypoints_have_no_offset_to_the_centers_of_pixels() -> None:
    """The keypoint has no peak above the threshold, so that it is found by refinement."""
    points = np.tile([[32.0, 32.0]], (17, 1))

    class Weak(PerfectEngine):
        def __call__(self, images: FloatArray) -> list[FloatArray]:
            levels = super().__call__(images)
            for level in levels:
                level[:, 10] *= 0.05
            return levels

    engine = Weak(points, 64, 64, 1)
    header = Header(input=InputConfig(SIZE, convention="udp"))
    predictor = Predictor(engine, header, InferenceConfig(flip=False, project=False))
    (pose,) = predictor(np.zeros((64, 64, 3), np.uint8)).keypoints
    # A cell of the finest map is a pixel of the image.
    np.testing.assert_allclose(np.abs(pose[10] - 32), 0.25, atol=1e-5)
    np.testing.assert_allclose(pose[0], points[0], atol=1e-2)


def test_udp_is_a_convention_of_headers_without_aligned_flip() -> None:
    header = Header(input=InputConfig(convention="udp"))
    assert Header.from_metadata(header.to_metadata(), "w") == header
    with pytest.raises(ValueError, match="views of the udp convention are aligned without it"):
        replace(header, inference=InferenceConfig(align_flip=True))
