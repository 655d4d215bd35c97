"""The original's way gives the people that ours gives: the ratio of their times means something."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import Image
from higherhrnet.bench.figures import same
from higherhrnet.config import Header, InferenceConfig, InputConfig, ModelConfig
from higherhrnet.engines.base import EngineName, EngineOptions
from higherhrnet.engines.load import load_engine
from higherhrnet.errors import InputError
from higherhrnet.io.images import read_image
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.reference.predictor import ReferencePredictor
from higherhrnet.skeleton import COCO
from higherhrnet.synthetic.maps import draw_maps
from higherhrnet.synthetic.scenes import draw_scene
from higherhrnet.zoo.models import resolve_model, torch_weights
from tests.conftest import Model

IMAGE = draw_scene(3, height=90, width=140).image
COCO_DEV = Path(__file__).parents[3] / "shared" / "data" / "coco_dev" / "images"


def photographs() -> list[Image]:
    """Ten of coco_dev."""
    return [read_image(path) for path in sorted(COCO_DEV.iterdir())[:10]]


def scenes() -> list[Image]:
    return [draw_scene(seed, height=256, width=320).image for seed in range(4)]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "images",
    [
        scenes,
        pytest.param(
            photographs,
            marks=pytest.mark.skipif(not COCO_DEV.is_dir(), reason="needs the photographs"),
        ),
    ],
)
def test_identical_people(images: Callable[[], list[Image]], engine: EngineName) -> None:
    model = torch_weights(resolve_model("default"))
    theirs, ours = ReferencePredictor.from_file(model, 2), Predictor.load(model, engine=engine)
    ours.config = theirs.config = InferenceConfig(size=256, flip=True)
    found = [(theirs(image), ours(image)) for image in images()]
    assert all(same(*people) for people in found)
    assert sum(len(people) for people, _ in found) >= 4


def both(lively: Model, flip: bool, **input: object) -> tuple[Predictor, Predictor]:
    predictors = (
        ReferencePredictor.from_file(lively.safetensors, 1),
        Predictor(*load_engine(EngineOptions(str(lively.onnx)))),
    )
    for predictor in predictors:
        predictor.config = replace(predictor.config, flip=flip)
        predictor.header = replace(
            predictor.header,
            input=InputConfig(64, **input),  # type: ignore[arg-type]
        )
    return predictors


@pytest.mark.parametrize("flip", [True, False])
def test_a_pass_a_view_gives_the_same_maps(lively: Model, flip: bool) -> None:
    theirs, ours = (
        predictor.forward([predictor.preprocess(IMAGE)])[0][1.0] for predictor in both(lively, flip)
    )
    for a, b in zip(theirs, ours, strict=True):
        assert len(a) == len(b) == 1 + flip
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("convention", ["reference", "unbiased"])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("people", [0, 1, 7])
def test_the_same_people_in_the_same_maps(
    lively: Model, people: int, flip: bool, convention: str
) -> None:
    theirs, ours = both(lively, flip, convention=convention)
    prepared = ours.preprocess(IMAGE)
    height, width = prepared.inputs[1.0].shape[2:]
    maps = {1.0: [*draw_maps(people, 4 * height, 4 * width, people, COCO, flip)]}
    found = [predictor.postprocess(prepared, maps) for predictor in (theirs, ours)]
    assert same(*found)
    assert len(found[0]) >= people


def test_what_counts_as_the_same() -> None:
    poses = Poses(np.full((2, 17, 2), 7.0), np.full((2, 17), 0.5), np.array([0.5, 0.4]))
    assert same(poses, poses)
    assert not same(poses, poses[[1, 0]])
    assert not same(poses, poses[:1])
    moved = replace(poses, keypoints=poses.keypoints + np.float32(0.25))
    assert not same(poses, moved)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    config = ModelConfig(width=4, tag_per_keypoint=False)
    checkpoint.save(tmp_path / "a.safetensors", HigherHRNet.from_config(config), Header(config))
    with pytest.raises(InputError, match="a tag a keypoint"):
        ReferencePredictor.from_file(tmp_path / "a.safetensors", 1)
