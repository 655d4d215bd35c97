"""Tests of the predictor against the reference implementation, and of the inputs it accepts."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as PilImage

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import FloatArray, Image
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.decoding.whole_maps import resize
from higherhrnet.engines.base import Engine, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.geometry import resize_for_network
from higherhrnet.network import checkpoint
from higherhrnet.poses.skeletons import COCO
from higherhrnet.reference import decoder as reference
from higherhrnet.synthetic.maps import synthesize_outputs
from tests.conftest import ModelFiles

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
ROTATED = 6
"""The EXIF orientation of an image that must be rotated clockwise by 90°."""


def noise(height: int, width: int, seed: int = 0) -> Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height)), np.uint8)


@pytest.fixture
def predictor(small_model: ModelFiles) -> Predictor:
    return Predictor.load(small_model.onnx, engine="onnxruntime", threads=1)


def assert_close(poses: Poses, expected: Poses) -> None:
    """Asserts that poses are equal to rounding, which depends on alignment and batch size."""
    assert len(poses) == len(expected) > 0
    np.testing.assert_allclose(poses.keypoints, expected.keypoints, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(poses.keypoint_scores, expected.keypoint_scores, rtol=1e-5)
    np.testing.assert_allclose(poses.scores, expected.scores, rtol=1e-5)


SIZES = [
    ((480, 640), True, (1.0,)),
    ((640, 427), False, (1.0,)),
    ((300, 300), True, (0.5, 1.0, 2.0)),
    ((280, 210), True, (1.0, 1.5)),
]


@pytest.mark.parametrize(("size", "flip", "scales"), SIZES)
def test_outputs_equal_those_of_the_network_for_each_view_and_scale(
    size: tuple[int, int], flip: bool, scales: tuple[float, ...], small_model: ModelFiles
) -> None:
    image = noise(*size)
    config = InferenceConfig(flip=flip, scales=scales)
    predictor = Predictor.load(small_model.onnx, engine="onnxruntime", config=config)
    (outputs,) = predictor.forward([predictor.preprocess(image)])
    model, header = checkpoint.load(small_model.safetensors)
    for scale in scales:
        transform = resize_for_network(*size, header.input.size, scale, min(scales))
        normalized = (transform.warp(image) / 255 - MEAN) / STD
        plain = torch.from_numpy(normalized).permute(2, 0, 1)[None].float()
        for view, tensor in enumerate([plain, plain.flip(3)][: 1 + flip]):
            with torch.inference_mode():
                expected = [level[0].numpy() for level in model(tensor)]
            for level, expected_level in zip(outputs[scale], expected, strict=True):
                assert len(level) == 1 + flip
                atol = 1e-4 * np.abs(expected_level).max()
                np.testing.assert_allclose(level[view], expected_level, atol=atol)


def test_the_inference_size_may_differ_from_the_training_size(predictor: Predictor) -> None:
    larger = predictor.with_config(InferenceConfig(size=192))
    # The longer side, 240 pixels, is rounded up to a multiple of 64.
    assert larger.preprocess(noise(300, 240)).inputs[1].shape[2:] == (256, 192)
    with pytest.raises(InputError, match="multiple of 32, not 100"):
        InferenceConfig(size=100)


def test_an_image_that_opencv_could_not_read_is_an_error(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="an object of type NoneType; pass a path"):
        predictor(cv2.imread("missing.jpg"))  # type: ignore[arg-type]


class SyntheticEngine(Engine):
    """An engine whose maps contain the same five people for every input, at the input's size."""

    description, streams = "synthetic", 1

    def __init__(self, height: int, width: int) -> None:
        self.maps = synthesize_outputs(5, height, width, seed=0)

    def __call__(self, images: FloatArray) -> list[FloatArray]:
        views, _, height, width = images.shape
        return [
            np.stack([resize(view, height // stride, width // stride) for view in maps[:views]])
            for maps, stride in zip(self.maps, (4, 2), strict=True)
        ]


@pytest.mark.parametrize(("size", "flip", "scales"), SIZES)
def test_poses_equal_those_of_the_reference_implementation(
    size: tuple[int, int], flip: bool, scales: tuple[float, ...]
) -> None:
    config = InferenceConfig(flip=flip, scales=scales)
    base = resize_for_network(*size, 256, 1, min(scales))
    engine = SyntheticEngine(base.height, base.width)
    predictor = Predictor(engine, Header(input=InputConfig(256)), config)
    preprocessed = predictor.preprocess(noise(*size))
    (outputs,) = predictor.forward([preprocessed])
    poses = predictor.postprocess(preprocessed, outputs)

    views = {
        scale: [
            (torch.from_numpy(low[view : view + 1]), torch.from_numpy(high[view : view + 1]))
            for view in range(1 + flip)
        ]
        for scale, (low, high) in outputs.items()
    }
    grid = base.height, base.width
    heatmaps, tags = reference.aggregate(views, COCO.flip_index, grid)
    people, scores = reference.decode(heatmaps, tags, COCO.grouping_order)
    smallest = resize_for_network(*size, 256, min(scales), min(scales))
    expected = smallest.to_image(people[..., :2], base.size)
    found = people[..., 2] > 0

    assert len(poses) == len(scores) >= 5
    np.testing.assert_allclose(poses.scores, scores, atol=1e-5)
    np.testing.assert_allclose(poses.keypoint_scores, people[..., 2], atol=1e-5)
    np.testing.assert_allclose(poses.keypoints[found], expected[found], atol=1e-3)
    assert not poses.keypoints[~found].any()


IMAGE = noise(64, 96)
ALPHA = np.where(np.arange(96) < 48, 255, 0).astype(np.uint8)[None, :, None]
"""An alpha channel whose left half is opaque."""
BLENDED = np.where(ALPHA == 255, IMAGE, 255).astype(np.uint8)
RGBA = np.concatenate([IMAGE, np.broadcast_to(ALPHA, (64, 96, 1))], 2)


def png(image: Image) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def write_png(folder: Path) -> Path:
    path = folder / "image.png"
    path.write_bytes(png(IMAGE))
    return path


def pil_with_orientation() -> PilImage.Image:
    """A PIL image with the pixels of `IMAGE` and an EXIF orientation, as read from a JPEG file."""
    image = PilImage.fromarray(IMAGE)
    image.getexif()[0x0112] = ROTATED
    return image


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: str(write_png(folder)), IMAGE),
        (write_png, IMAGE),
        (lambda folder: write_png(folder).read_bytes(), IMAGE),
        (lambda folder: io.BytesIO(png(IMAGE)), IMAGE),
        (lambda folder: IMAGE, IMAGE),
        (lambda folder: RGBA, BLENDED),
        (lambda folder: IMAGE[:, :, 0], np.repeat(IMAGE[:, :, :1], 3, 2)),
        (lambda folder: PilImage.fromarray(IMAGE), IMAGE),
        (lambda folder: PilImage.fromarray(RGBA), BLENDED),
        (lambda folder: pil_with_orientation(), np.rot90(IMAGE, -1).copy()),
    ],
    ids=[
        "str",
        "Path",
        "bytes",
        "file",
        "RGB array",
        "RGBA array",
        "gray array",
        "PIL",
        "PIL with transparency",
        "PIL with orientation",
    ],
)
def test_every_kind_of_image_gives_the_poses_of_its_pixels(
    make: Callable[[Path], Any], expected: Image, predictor: Predictor, tmp_path: Path
) -> None:
    assert_close(predictor(make(tmp_path)), predictor(expected))


def test_a_file_opened_for_reading_is_read(predictor: Predictor, tmp_path: Path) -> None:
    with write_png(tmp_path).open("rb") as file:
        assert_close(predictor(file), predictor(IMAGE))


IMAGES = [noise(64, 96, 1), noise(96, 64, 2), noise(64, 96, 3)]


@pytest.mark.parametrize("kind", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_several_images_of_any_size_give_the_poses_of_each(
    kind: Callable[[list[Image]], Any], predictor: Predictor
) -> None:
    results = predictor(kind(IMAGES))
    assert isinstance(results, list) and len(results) == 3
    for image, poses in zip(IMAGES, results, strict=True):
        assert_close(poses, predictor(image))
    assert predictor(kind([])) == []


def test_kinds_of_images_may_be_mixed(predictor: Predictor, tmp_path: Path) -> None:
    results = predictor([write_png(tmp_path), PilImage.fromarray(IMAGES[0]), IMAGES[1]])
    for image, poses in zip((IMAGE, IMAGES[0], IMAGES[1]), results, strict=True):
        assert_close(poses, predictor(image))


class RecordingEngine(Engine):
    """Calls another engine, and a function with the shape of each batch."""

    description, streams = "recording", 1

    def __init__(self, engine: Engine, record: Callable[[tuple[int, ...]], None]) -> None:
        self.engine, self.record = engine, record

    def __call__(self, images: FloatArray) -> list[FloatArray]:
        self.record(images.shape)
        return list(self.engine(images))


def test_a_generator_is_consumed_in_chunks(predictor: Predictor) -> None:
    produced = 0
    produced_at_call: list[int] = []

    def generate() -> Iterator[Image]:
        nonlocal produced
        for _ in range(20):
            produced += 1
            yield IMAGE

    engine = RecordingEngine(predictor.engine, lambda shape: produced_at_call.append(produced))
    assert len(Predictor(engine, predictor.header)(generate())) == 20
    assert produced_at_call == [8] * 8 + [16] * 8 + [20] * 4


def test_inputs_of_equal_size_share_a_batch(predictor: Predictor) -> None:
    shapes: list[tuple[int, ...]] = []
    engine = RecordingEngine(predictor.engine, shapes.append)
    batching = Predictor(engine, predictor.header, batch_size=4)
    batching([noise(64, 64), noise(64, 96), noise(64, 64), noise(64, 64)])
    assert sorted(shapes) == [(2, 3, 64, 64), (2, 3, 64, 128), (4, 3, 64, 64)]


def test_with_config_and_with_flip_change_only_the_inference_settings(
    predictor: Predictor, small_model: ModelFiles
) -> None:
    config = InferenceConfig(flip=False, scales=(0.5, 1.0), decode=DecodeConfig(max_results=3))
    changed = predictor.with_config(config)
    expected = Predictor.load(small_model.onnx, engine="onnxruntime", threads=1, config=config)
    assert_close(changed(IMAGE), expected(IMAGE))
    assert changed.engine is predictor.engine and predictor.config == predictor.header.inference
    for flip in (False, True):
        flipping = changed.with_flip(flip)
        assert flipping.config == replace(config, flip=flip)
        assert flipping.preprocess(IMAGE).inputs[1].shape[0] == 1 + flip


def test_settings_are_json_values_of_the_header_and_the_config(predictor: Predictor) -> None:
    config = InferenceConfig(flip=False, size=96)
    settings = json.loads(json.dumps(predictor.with_config(config).settings()))
    assert settings["inference"]["flip"] is False and settings["inference"]["size"] == 96
    header = Header.from_metadata({Header.KEY: json.dumps(settings["model"])}, "settings")
    assert header == predictor.header


def test_from_options_loads_the_model_of_the_options(
    predictor: Predictor, small_model: ModelFiles
) -> None:
    options = EngineOptions(str(small_model.onnx), "onnxruntime", threads=2, streams=2)
    loaded = Predictor.from_options(options)
    assert "2 threads in 2 streams" in loaded.engine.description
    assert (loaded.header, loaded.config) == (predictor.header, predictor.header.inference)
    assert_close(loaded(IMAGE), predictor(IMAGE))
    config = InferenceConfig(flip=False)
    assert Predictor.from_options(options, config).config == config


def test_an_aligned_flip_shifts_the_flipped_view(predictor: Predictor) -> None:
    image = noise(64, 64)
    plain = predictor.preprocess(image).inputs[1.0]
    aligned = predictor.with_config(replace(predictor.config, align_flip=True))
    shifted = aligned.preprocess(image).inputs[1.0]
    np.testing.assert_array_equal(shifted[0], plain[0])
    np.testing.assert_array_equal(plain[1], plain[0, :, :, ::-1])
    np.testing.assert_array_equal(shifted[1, :, :, :-3], plain[1, :, :, 3:])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_with_nan_or_infinity_are_rejected(value: float, small_model: ModelFiles) -> None:
    engine, header = load_engine(EngineOptions(str(small_model.onnx), "onnxruntime"))

    class BrokenEngine(Engine):
        description, streams = "broken", 1

        def __call__(self, images: FloatArray) -> list[FloatArray]:
            return [np.full_like(maps, value) for maps in engine(images)]

    with pytest.raises(InputError, match="NaN or infinity"):
        Predictor(BrokenEngine(), header)(noise(64, 64))


def test_scales_that_give_sizes_other_than_multiples_of_32_are_rejected(
    predictor: Predictor,
) -> None:
    with pytest.raises(InputError, match="not multiples of 32; use powers of 2"):
        predictor.with_config(InferenceConfig(scales=(0.7, 1.0)))(noise(64, 64))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((20, 30000, 3), "more than 20 times as long"), ((1, 1, 3), "too few to detect people")],
)
def test_images_that_are_too_elongated_or_too_small_are_rejected(
    shape: tuple[int, int, int], message: str, predictor: Predictor
) -> None:
    with pytest.raises(InputError, match=message):
        predictor(np.zeros(shape, np.uint8))
