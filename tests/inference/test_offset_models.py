"""Prediction with networks that predict offsets, from images to poses, with random weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from higherhrnet import Predictor
from higherhrnet.arrays import Image
from higherhrnet.cli.main import main
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.offsets import OffsetDecodeConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.engines.base import EngineName
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError
from higherhrnet.inference.gpu import GpuProcessing
from higherhrnet.io.images import read_image, write_image
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import ModelFiles
from tests.inference.same_people import assert_same_people

torch = pytest.importorskip("torch")

from higherhrnet.network import checkpoint

NOBODY_ALIKE = DecodeConfig(offsets=OffsetDecodeConfig(nms_distance=0))


@pytest.fixture(scope="module")
def image() -> Image:
    return draw_scene(0, height=96, width=130).image


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_every_engine_finds_the_same_people(
    engine: EngineName, small_offset_model: ModelFiles, image: Image
) -> None:
    pytest.importorskip(engine)
    expected = Predictor.load(small_offset_model.safetensors, engine="torch")(image)
    assert_same_people(Predictor.load(small_offset_model.onnx, engine=engine)(image), expected)
    assert expected.found.all()  # every person has all keypoints


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 32, 160), (3, 128, 96)])
def test_onnx_equals_torch_at_any_batch_and_image_size(
    shape: tuple[int, int, int], engine: EngineName, small_offset_model: ModelFiles
) -> None:
    pytest.importorskip(engine)
    batch, height, width = shape
    images = np.random.default_rng(0).standard_normal((batch, 3, height, width), np.float32)
    outputs = Predictor.load(small_offset_model.onnx, engine=engine).engine(images)
    expected = Predictor.load(small_offset_model.safetensors, engine="torch").engine(images)
    assert len(outputs) == len(expected) == 2
    for maps, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(maps, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "config",
    [
        InferenceConfig(flip=False),
        InferenceConfig(flip=True, align_flip=True),
        pytest.param(InferenceConfig(flip=True, scales=(0.5, 1.0, 2.0)), marks=pytest.mark.slow),
        InferenceConfig(flip=True, scales=(0.5,)),
    ],
    ids=["plain", "flip", "scales", "one other scale"],
)
def test_poses_on_a_device_equal_those_of_cpu_processing(
    config: InferenceConfig, small_offset_model: ModelFiles, image: Image
) -> None:
    model, header = checkpoint.load(small_offset_model.safetensors)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = TorchEngine(model.to(device), device)
    config = replace(config, decode=NOBODY_ALIKE)
    on_device = Predictor(engine, header, config, 4, GpuProcessing(engine, header))
    images = [image, image[:, :90], image[:70]]
    for poses, expected in zip(
        on_device(images), Predictor(engine, header, config)(images), strict=True
    ):
        assert_same_people(poses, expected)


def test_the_input_at_scale_1_does_not_depend_on_other_scales(
    small_offset_model: ModelFiles,
) -> None:
    predictor = Predictor.load(small_offset_model.onnx, engine="onnxruntime")
    single = predictor.resizes(100, 163)[1]
    several = predictor.with_config(InferenceConfig(scales=(0.5, 1, 2))).resizes(100, 163)
    assert (several[1].height, several[1].width) == (single.height, single.width)
    assert np.array_equal(several[1].matrix, single.matrix)
    assert several[0.5].width * 4 == several[2].width == 2 * single.width


def test_scales_that_do_not_divide_4_are_rejected(
    small_offset_model: ModelFiles, image: Image
) -> None:
    predictor = Predictor.load(small_offset_model.onnx, engine="onnxruntime")
    with pytest.raises(InputError, match=r"scale 1\.5 does not divide 4"):
        predictor.with_config(InferenceConfig(scales=(1, 1.5)))(image)


def test_the_command_line_predicts_draws_and_describes(
    small_offset_model: ModelFiles, image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", image)
    model = str(small_offset_model.onnx)
    arguments = ["predict", str(tmp_path / "a.png"), "-m", model, "--engine", "onnxruntime"]
    for command in (
        [*arguments, "--out", str(tmp_path / "out"), "--save-maps", "--draw"],
        ["info", model],
    ):
        with pytest.raises(SystemExit) as exit_:
            main(command)
        assert not exit_.value.code
    maps = read_image(next((tmp_path / "out").glob("*_maps.jpg")))
    assert maps.std() > 10
    assert "17 heatmaps and 1 of the centers, 17 offset fields" in capsys.readouterr().out


def test_the_settings_of_a_run_have_the_digest_of_the_rescoring_network(
    small_offset_model: ModelFiles, image: Image
) -> None:
    predictor = Predictor.load(small_offset_model.onnx, engine="onnxruntime")
    layers = [
        (np.zeros(shape, np.float32), np.full(shape[:1], bias, np.float32))
        for shape, bias in (((4, 20), 1), ((4, 4), 1), ((1, 4), 0.5))
    ]
    network = RescoringNetwork.from_layers(layers, 17, [(0, 1)], [0])
    rescored = Predictor(predictor.engine, replace(predictor.header, rescoring=network))
    assert len(str(rescored.settings()["model"]["rescoring"]["weights"])) == 64
    poses, expected = rescored(image), predictor(image)
    np.testing.assert_allclose(poses.scores, expected.scores / 2, rtol=1e-5)
    offsets = OffsetDecodeConfig(rescore=False)
    decode = replace(predictor.config.decode, offsets=offsets)
    without = rescored.with_config(replace(predictor.config, decode=decode))
    np.testing.assert_array_equal(without(image).scores, expected.scores)


def test_maps_with_nan_are_rejected(small_offset_model: ModelFiles, image: Image) -> None:
    predictor = Predictor.load(small_offset_model.onnx, engine="onnxruntime")
    preprocessed = predictor.preprocess(image)
    for level in range(2):
        (outputs,) = predictor.forward([preprocessed])
        outputs[1][level][0, 3, 2, 1] = np.nan
        with pytest.raises(InputError, match="NaN"):
            predictor.postprocess(preprocessed, outputs)
