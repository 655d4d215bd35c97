"""Prediction with networks that predict tags and offsets, with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import Image
from higherhrnet.cli.main import main
from higherhrnet.config.centers import CenterDecodeConfig
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.rescoring import RescoringTraining
from higherhrnet.decoding.rescore import rescore
from higherhrnet.engines.base import EngineName
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.evaluation.predict_dataset import predict_dataset
from higherhrnet.graph.export import export_onnx
from higherhrnet.inference.gpu import GpuProcessing
from higherhrnet.io.datasets.coco import load_annotations
from higherhrnet.io.images import read_image, write_image
from higherhrnet.synthetic.scenes import draw_scene, write_scenes
from tests.conftest import ModelFiles, RunMain
from tests.inference.same_people import assert_same_people

torch = pytest.importorskip("torch")

from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.training.rescoring_run import train_rescoring

EVERYBODY = DecodeConfig(
    min_peak=0.0, centers=CenterDecodeConfig(min_center=0.6, max_similarity=1.0)
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """A small untrained network that predicts tags and offsets and finds several people."""
    torch.manual_seed(1)  # finds several people
    config = ModelConfig(4, modules=(1, 1, 1), blocks=1, deconv_blocks=1, head="tags-and-offsets")
    network = HigherHRNet.from_config(config).eval()
    head = network.center_head
    assert head
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    with torch.no_grad():
        coarse, fine, centers = network(torch.randn(1, 3, 64, 64))
        for final, maps in zip(network.final_layers, (coarse, fine), strict=True):
            final.weight /= 4 * maps[:, :17].std()
        for branch, divisor in ((head.offsets, centers[:, 1:].std() / 3), (head.centers, 10)):
            last = branch.predict
            assert last.bias is not None
            last.weight /= divisor  # sigmoids of 1 would be equal
            last.bias.zero_()
    header = Header(
        config, input=InputConfig(64), inference=InferenceConfig(align_flip=True, decode=EVERYBODY)
    )
    folder = tmp_path_factory.mktemp("centers")
    checkpoint.save(folder / "small.safetensors", network, header)
    export_onnx(folder / "small.onnx", checkpoint.to_arrays(network), header)
    return ModelFiles(folder / "small.safetensors", folder / "small.onnx")


@pytest.fixture(scope="module")
def image() -> Image:
    return draw_scene(0, height=96, width=130).image


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_every_engine_finds_the_same_people(
    engine: EngineName, model: ModelFiles, image: Image
) -> None:
    pytest.importorskip(engine)
    expected = Predictor.load(model.safetensors, engine="torch")(image)
    assert_same_people(Predictor.load(model.onnx, engine=engine)(image), expected)
    assert expected.found.all()


@pytest.mark.parametrize(
    "config",
    [
        InferenceConfig(flip=False, decode=EVERYBODY),
        InferenceConfig(flip=True, align_flip=True, decode=EVERYBODY),
        pytest.param(
            InferenceConfig(flip=True, scales=(0.5, 1.0, 2.0), decode=EVERYBODY),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["plain", "flip", "scales"],
)
def test_poses_on_a_device_equal_those_of_cpu_processing(
    config: InferenceConfig, model: ModelFiles, image: Image
) -> None:
    network, header = checkpoint.load(model.safetensors)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = TorchEngine(network.to(device), device)
    on_device = Predictor(engine, header, config, 4, GpuProcessing(engine, header))
    images = [image, image[:, :90], image[:70]]
    for poses, expected in zip(
        on_device(images), Predictor(engine, header, config)(images), strict=True
    ):
        assert_same_people(poses, expected)


def test_the_command_line_predicts_draws_and_describes(
    model: ModelFiles, image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", image)
    name = str(model.onnx)
    arguments = ["predict", str(tmp_path / "a.png"), "-m", name, "--engine", "onnxruntime"]
    for command in (
        [*arguments, "--out", str(tmp_path / "out"), "--save-maps", "--draw"],
        ["info", name],
    ):
        with pytest.raises(SystemExit) as exit_:
            main(command)
        assert not exit_.value.code
    assert read_image(next((tmp_path / "out").glob("*_maps.jpg"))).std() > 10
    assert "17 tag maps" in (output := capsys.readouterr().out)
    assert "1 heatmap of the centers, 17 offset fields" in output


def test_a_rescoring_network_is_trained_and_used(
    model: ModelFiles, image: Image, tmp_path: Path, run_main: RunMain
) -> None:
    """Its prediction replaces the scores, and --min-score applies to the new ones."""
    annotations = write_scenes(tmp_path / "scenes", 6, height=96, width=130)
    out = tmp_path / "rescored.safetensors"
    arguments = (
        "train-rescore", "--model", model.safetensors, "--engine", "torch", "--annotations",
        annotations, "--out", out, "--epochs", 3, "--holdout", 0.5,
    )  # fmt: skip
    result = run_main(*arguments)
    assert result.returncode == 0 and "held-out images: AP" in result.stdout, result.stderr
    assert "with a rescoring network with context" in run_main("info", out).stdout
    plain = Predictor.load(model.safetensors, engine="torch")(image)
    predictor = Predictor.load(out, engine="torch")
    network = predictor.header.rescoring
    assert network and network.context
    rescored = predictor(image)
    expected = rescore(
        plain.keypoints, plain.keypoint_scores, plain.scores, min(image.shape[:2]), network
    )
    assert len(rescored) == len(plain) > 1 and np.abs(expected - plain.scores).min() > 0.005
    np.testing.assert_allclose(rescored.scores, expected, atol=1e-3)
    middle = float(np.median(rescored.scores)) + 1e-6
    decode = replace(predictor.config.decode, min_score=middle)
    strong = predictor.with_config(replace(predictor.config, decode=decode))(image)
    np.testing.assert_array_equal(strong.scores, rescored.scores[rescored.scores >= middle])
    result = run_main(*arguments, "--inputs", "pose", "--reference")
    assert result.returncode == 0, result.stderr
    header = Predictor.load(out, engine="torch").header
    assert header.rescoring and not header.rescoring.context


def test_rescoring_with_context_is_trained_with_all_people(
    model: ModelFiles, tmp_path: Path
) -> None:
    """Limits that follow rescoring do not apply; a minimum score only selects poses to learn."""
    path = write_scenes(tmp_path / "scenes", 4, height=96, width=130, people=(2, 3))
    truth, images = load_annotations(path), path.parent / "images"
    predictor = Predictor.load(model.safetensors, engine="torch")

    def trained_poses(decode: DecodeConfig) -> int:
        changed = predictor.with_config(replace(predictor.config, decode=decode))
        training = RescoringTraining(epochs=1, holdout=0)
        return train_rescoring(changed, truth, images, training)[1].poses

    everybody = trained_poses(EVERYBODY)
    assert everybody > 10 * len(truth.images)
    assert trained_poses(replace(EVERYBODY, max_results=1, oks_nms=0.1)) == everybody
    results, _ = predict_dataset(predictor, truth, images)
    middle = float(np.median([result["score"] for result in results]))
    assert 0 < trained_poses(replace(EVERYBODY, min_score=middle)) < everybody


def test_the_flipped_image_has_mirrored_people(model: ModelFiles, image: Image) -> None:
    unbiased = replace(
        Predictor.load(model.onnx, engine="onnxruntime").header,
        input=InputConfig(64, convention="unbiased"),
        inference=InferenceConfig(flip=True, decode=EVERYBODY),
    )
    engine = Predictor.load(model.onnx, engine="onnxruntime").engine
    predictor = Predictor(engine, unbiased)
    poses, flipped = predictor(image), predictor(np.ascontiguousarray(image[:, ::-1]))
    mirrored = flipped.keypoints[:, poses.skeleton.flip_index].copy()
    mirrored[..., 0] = image.shape[1] - 1 - mirrored[..., 0]
    back = Poses(mirrored, flipped.keypoint_scores, flipped.scores, poses.skeleton)
    assert_same_people(back, poses)
