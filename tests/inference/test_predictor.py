"""From photograph to poses: the same people as the original's way, step by step."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from higherhrnet import Predictor
from higherhrnet.arrays import FloatArray, Image
from higherhrnet.config import Header, InferenceConfig, InputConfig
from higherhrnet.decoding.upsample import resize
from higherhrnet.engines.base import Engine, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.geometry import resize_for_network
from higherhrnet.network import checkpoint
from higherhrnet.reference import decoder as original
from higherhrnet.skeleton import COCO
from higherhrnet.synthetic.maps import draw_maps
from tests.conftest import Model

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def noise(height: int, width: int, seed: int = 0) -> Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height)), np.uint8)


SIZES = [
    ((480, 640), True, (1.0,)),
    ((640, 427), False, (1.0,)),
    ((300, 300), True, (0.5, 1.0, 2.0)),
    ((280, 210), True, (1.0, 1.5)),
]


@pytest.mark.parametrize(("size", "flip", "scales"), SIZES)
def test_the_network_sees_what_the_original_shows_it(
    size: tuple[int, int], flip: bool, scales: tuple[float, ...], lively: Model
) -> None:
    image = noise(*size)
    test = InferenceConfig(flip=flip, scales=scales)
    predictor = Predictor.load(lively.onnx, engine="onnxruntime", config=test)
    (outputs,) = predictor.forward([predictor.preprocess(image)])
    model, header = checkpoint.load(lively.safetensors)
    for scale in scales:
        way = resize_for_network(*size, header.input.size, scale, min(scales))
        seen = torch.from_numpy((way.warp(image) / 255 - MEAN) / STD).permute(2, 0, 1)[None]
        for view, shown in enumerate([seen.float(), seen.float().flip(3)][: 1 + flip]):
            with torch.inference_mode():
                expected = [maps[0].numpy() for maps in model(shown)]
            for ours, theirs in zip(outputs[scale], expected, strict=True):
                assert len(ours) == 1 + flip
                np.testing.assert_allclose(ours[view], theirs, atol=1e-4 * np.abs(theirs).max())


def test_the_size_at_test_time_can_be_another(lively: Model) -> None:
    predictor = Predictor.load(lively.onnx, engine="onnxruntime", config=InferenceConfig(size=64))
    assert predictor.preprocess(noise(300, 240)).inputs[1].shape[2:] == (128, 64)
    with pytest.raises(InputError, match="multiple of 32, not 100"):
        InferenceConfig(size=100)


class Drawn(Engine):
    """An engine that shows the same five people whatever it is given, in the size it is given."""

    description, streams = "drawn", 1

    def __init__(self, height: int, width: int) -> None:
        self.maps = draw_maps(5, height, width, seed=0)

    def __call__(self, images: FloatArray) -> list[FloatArray]:
        views, _, height, width = images.shape
        return [
            np.stack([resize(view, height // stride, width // stride) for view in maps[:views]])
            for maps, stride in zip(self.maps, (4, 2), strict=True)
        ]


@pytest.mark.parametrize(("size", "flip", "scales"), SIZES)
def test_poses_are_the_originals(
    size: tuple[int, int], flip: bool, scales: tuple[float, ...]
) -> None:
    test = InferenceConfig(flip=flip, scales=scales)
    base = resize_for_network(*size, 256, 1, min(scales))
    engine = Drawn(base.height, base.width)
    predictor = Predictor(engine, Header(input=InputConfig(256)), test)
    prepared = predictor.preprocess(noise(*size))
    (outputs,) = predictor.forward([prepared])
    poses = predictor.postprocess(prepared, outputs)

    views = {
        scale: [
            (torch.from_numpy(low[view : view + 1]), torch.from_numpy(high[view : view + 1]))
            for view in range(1 + flip)
        ]
        for scale, (low, high) in outputs.items()
    }
    grid = base.height, base.width
    heatmaps, tags = original.aggregate(views, COCO.flip_index, grid)
    people, scores = original.decode(heatmaps, tags, COCO.grouping_order)
    last = resize_for_network(*size, 256, min(scales), min(scales))
    expected = last.to_image(people[..., :2], base.width, base.height)
    found = people[..., 2] > 0

    assert len(poses) == len(scores) >= 5
    np.testing.assert_allclose(poses.scores, scores, atol=1e-5)
    np.testing.assert_allclose(poses.keypoint_scores, people[..., 2], atol=1e-5)
    np.testing.assert_allclose(poses.keypoints[found], expected[found], atol=1e-3)
    assert not poses.keypoints[~found].any()


def test_a_list_of_any_sizes_is_as_one_by_one(lively: Model, tmp_path: Path) -> None:
    predictor = Predictor.load(lively.onnx, engine="onnxruntime")
    images = [noise(64, 96, 1), noise(96, 64, 2), noise(64, 96, 3)]
    cv2.imwrite(str(tmp_path / "a.png"), images[0][:, :, ::-1])
    together = predictor([tmp_path / "a.png", *images[1:]])
    assert len(together) == 3
    for image, poses in zip(images, together, strict=True):
        alone = predictor(image)
        assert len(alone) == len(poses) > 0
        np.testing.assert_allclose(alone.scores, poses.scores, atol=1e-5)
        np.testing.assert_allclose(alone.keypoint_scores, poses.keypoint_scores, atol=1e-5)
    assert predictor([]) == []


def test_views_of_one_size_share_a_pass(lively: Model) -> None:
    runner, header = load_engine(EngineOptions(str(lively.onnx), "onnxruntime"))
    seen: list[tuple[int, ...]] = []

    class Watched(Engine):
        description, streams = "watched", 1

        def __call__(self, images: FloatArray) -> list[FloatArray]:
            seen.append(images.shape)
            return list(runner(images))

    predictor = Predictor(Watched(), header, batch_size=4)
    predictor([noise(64, 64), noise(64, 96), noise(64, 64), noise(64, 64)])
    assert sorted(seen) == [(2, 3, 64, 64), (2, 3, 64, 128), (4, 3, 64, 64)]


def test_an_aligned_flip_shows_the_mirror_image_shifted(lively: Model) -> None:
    predictor = Predictor.load(lively.onnx, engine="onnxruntime")
    image = noise(64, 64)
    plain = predictor.preprocess(image).inputs[1.0]
    predictor.config = replace(predictor.config, align_flip=True)
    shifted = predictor.preprocess(image).inputs[1.0]
    np.testing.assert_array_equal(shifted[0], plain[0])
    np.testing.assert_array_equal(plain[1], plain[0, :, :, ::-1])
    np.testing.assert_array_equal(shifted[1, :, :, :-3], plain[1, :, :, 3:])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_no_numbers_are_reported(value: float, lively: Model) -> None:
    runner, header = load_engine(EngineOptions(str(lively.onnx), "onnxruntime"))

    class Broken(Engine):
        description, streams = "broken", 1

        def __call__(self, images: FloatArray) -> list[FloatArray]:
            return [np.full_like(maps, value) for maps in runner(images)]

    with pytest.raises(InputError, match="NaN or infinity"):
        Predictor(Broken(), header)(noise(64, 64))


def test_scales_that_the_network_cannot_take_are_refused(lively: Model) -> None:
    test = InferenceConfig(scales=(0.7, 1.0))
    predictor = Predictor.load(lively.onnx, engine="onnxruntime", config=test)
    with pytest.raises(InputError, match="no multiples of 32; use scales that halve or double"):
        predictor(noise(64, 64))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((20, 30000, 3), "more than 20 times as long"), ((1, 1, 3), "too few to show anyone")],
)
def test_shapes_that_show_nobody_are_refused(
    shape: tuple[int, int, int], message: str, lively: Model
) -> None:
    predictor = Predictor.load(lively.onnx, engine="onnxruntime")
    with pytest.raises(InputError, match=message):
        predictor(np.zeros(shape, np.uint8))
