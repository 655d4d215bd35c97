"""The reference predictor finds the same people as `Predictor`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import Image
from higherhrnet.config.header import Header
from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.engines.base import EngineName, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.io.images import read_image
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.poses.skeletons import COCO
from higherhrnet.reference.predictor import ReferencePredictor
from higherhrnet.synthetic.maps import synthesize_outputs
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.resolve import resolve_model, torch_weights
from tests.conftest import ModelFiles

IMAGE = draw_scene(3, height=90, width=140).image
EXAMPLES = Path(__file__).parents[2] / "examples"
COCO_DEV = Path(__file__).parents[3] / "shared" / "data" / "coco_dev" / "images"


def views_of_two_players() -> list[Image]:
    """An image of two people, each of them alone, and the image mirrored and upside down."""
    image = read_image(EXAMPLES / "basketball1.png")
    return [image, image[:, :330], image[:, 330:], image[:, ::-1].copy(), image[::-1].copy()]


def coco_images() -> list[Image]:
    return [read_image(path) for path in sorted(COCO_DEV.iterdir())[:10]]


def scenes() -> list[Image]:
    return [draw_scene(seed, height=256, width=320).image for seed in range(4)]


def assert_same_people(reference: Poses, actual: Poses) -> None:
    """Asserts that both have the same people in the same order."""
    assert len(reference) == len(actual)
    np.testing.assert_allclose(actual.keypoints, reference.keypoints, rtol=0, atol=1e-2)
    np.testing.assert_allclose(actual.keypoint_scores, reference.keypoint_scores, rtol=0, atol=1e-4)
    np.testing.assert_allclose(actual.scores, reference.scores, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "images",
    [
        scenes,
        views_of_two_players,
        pytest.param(
            coco_images,
            marks=pytest.mark.skipif(not COCO_DEV.is_dir(), reason="needs ../shared/data/coco_dev"),
        ),
    ],
)
def test_both_decoders_find_the_same_people_in_maps_of_a_trained_network(
    images: Callable[[], list[Image]], engine: EngineName
) -> None:
    """The network was trained on drawn people; it finds many false peaks in other images."""
    predictor = Predictor.load(EXAMPLES / "drawn.onnx", engine=engine)
    reference = ReferencePredictor(HigherHRNet(4), predictor.header)  # only decodes
    predictor.config = reference.config = InferenceConfig(flip=True)
    num_people = 0
    for image in images():
        preprocessed = predictor.preprocess(image)
        [outputs] = predictor.forward([preprocessed])
        expected = reference.postprocess(preprocessed, outputs)
        assert_same_people(expected, predictor.postprocess(preprocessed, outputs))
        num_people += len(expected)
    assert num_people >= 4


def both_predictors(model: ModelFiles, flip: bool, **input: object) -> tuple[Predictor, Predictor]:
    predictors = (
        ReferencePredictor.from_file(model.safetensors, 1),
        Predictor(*load_engine(EngineOptions(str(model.onnx)))),
    )
    for predictor in predictors:
        predictor.config = replace(predictor.config, flip=flip)
        predictor.header = replace(
            predictor.header,
            input=InputConfig(64, **input),  # type: ignore[arg-type]
        )
    return predictors


@pytest.mark.parametrize("flip", [True, False])
def test_one_view_at_a_time_gives_the_same_maps(small_model: ModelFiles, flip: bool) -> None:
    expected, maps = (
        predictor.forward([predictor.preprocess(IMAGE)])[0][1.0]
        for predictor in both_predictors(small_model, flip)
    )
    for a, b in zip(expected, maps, strict=True):
        assert len(a) == len(b) == 1 + flip
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("convention", ["reference", "unbiased"])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("num_people", [0, 1, 7])
def test_equal_maps_give_the_same_people(
    small_model: ModelFiles, num_people: int, flip: bool, convention: str
) -> None:
    reference, predictor = both_predictors(small_model, flip, convention=convention)
    preprocessed = predictor.preprocess(IMAGE)
    height, width = preprocessed.inputs[1.0].shape[2:]
    maps = synthesize_outputs(num_people, 4 * height, 4 * width, num_people, COCO, flip)
    outputs = {1.0: [*maps]}
    expected = reference.postprocess(preprocessed, outputs)
    assert_same_people(expected, predictor.postprocess(preprocessed, outputs))
    assert len(expected) >= num_people


def test_the_head_that_the_reference_implementation_cannot_decode_is_named() -> None:
    """The bundled model; `bench` reports the reason and measures the engines alone."""
    with pytest.raises(InputError, match=r"no decoding for the head tags-and-offsets of default"):
        ReferencePredictor.from_file(torch_weights(resolve_model("default")), 1)


def test_rejects_unsupported_networks(tmp_path: Path) -> None:
    config = ModelConfig(width=4, tag_per_keypoint=False)
    checkpoint.save(tmp_path / "a.safetensors", HigherHRNet.from_config(config), Header(config))
    with pytest.raises(InputError, match="one tag per keypoint"):
        ReferencePredictor.from_file(tmp_path / "a.safetensors", 1)
