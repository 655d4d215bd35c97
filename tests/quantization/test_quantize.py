"""An int8 file runs in both engines, finds nearly the same people, and knows what it is."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import TensorData

torch = pytest.importorskip("torch")

from higherhrnet.config import DecodeConfig, Header, InputConfig, ModelConfig, StemName  # noqa: E402
from higherhrnet.config import InferenceConfig as Settings  # noqa: E402
from higherhrnet.engines.base import EngineName, EngineOptions
from higherhrnet.engines.load import load_engine  # noqa: E402
from higherhrnet.errors import InputError  # noqa: E402
from higherhrnet.inference.predictor import Predictor  # noqa: E402
from higherhrnet.io.coco import load_annotations  # noqa: E402
from higherhrnet.network import checkpoint  # noqa: E402
from higherhrnet.network.export import export_onnx  # noqa: E402
from higherhrnet.network.higherhrnet import HigherHRNet  # noqa: E402
from higherhrnet.quantization.calibration import calibrate, choose, read_views  # noqa: E402
from higherhrnet.quantization.network import FloatNetwork  # noqa: E402
from higherhrnet.quantization.quantize import ENGINES, LOSS, Judge, quantize  # noqa: E402
from higherhrnet.quantization.sensitivity import rank_layers  # noqa: E402
from higherhrnet.synthetic.scenes import write_scenes  # noqa: E402
from tests.conftest import Model  # noqa: E402

DRAWN = Path(__file__).parents[2] / "examples" / "drawn.onnx"
SETTINGS = Settings(flip=False, decode=DecodeConfig(limit=3))
NARROW = ModelConfig(4, modules=(1, 1, 1), blocks=1, deconv_blocks=1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 8, height=64, width=96, people=(1, 2))
    return folder


TRUNKS = pytest.mark.parametrize("narrow", ["hrnet", "efficientnet-lite0"], indirect=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[StemName], Model]:
    """Makes a small untrained network whose maps have peaks, once a trunk: exporting takes long."""

    @cache
    def build(stem: StemName) -> Model:
        torch.manual_seed(0)
        model = HigherHRNet.from_config(replace(NARROW, stem=stem)).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        levels = model(torch.randn(1, 3, 64, 64))
        with torch.no_grad():
            for final, level in zip(model.final_layers, levels, strict=True):
                final.weight /= 4 * level[:, :17].std()
        header = Header(model.config, input=InputConfig(64), inference=SETTINGS)
        folder = tmp_path_factory.mktemp("narrow")
        checkpoint.save(folder / "a.safetensors", model, header)
        export_onnx(model, header, folder / "a.onnx")
        return Model(folder / "a.safetensors", folder / "a.onnx")

    return build


@pytest.fixture
def narrow(request: pytest.FixtureRequest, built: Callable[[StemName], Model]) -> Model:
    """One of these; the parameter is its trunk."""
    return built(getattr(request, "param", "hrnet"))


def annotate_with(model: Path, images: Path, target: Path) -> Path:
    """Annotations that say what a model finds: with them its own AP is as high as can be."""
    predictor = Predictor.load(model, engine="onnxruntime")
    names = sorted(path.name for path in images.iterdir())
    people: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        people += predictor(images / name).to_coco(number, file_name=name)
    for number, person in enumerate(people, 1):
        person |= {"id": number, "iscrowd": 0}
    skeleton = predictor.header.skeleton
    category = {"id": 1, "name": "person", "keypoints": list(skeleton.names), "skeleton": []}
    listed = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    content = {"images": listed, "annotations": people, "categories": [category]}
    target.write_text(json.dumps(content))
    return target


def test_layers_are_put_back_until_ap_holds(tmp_path: Path) -> None:
    write_scenes(tmp_path, 6, height=128, width=128, people=(1, 2))
    images, out = tmp_path / "images", tmp_path / "int8.onnx"
    judge = Judge(load_annotations(annotate_with(DRAWN, images, tmp_path / "a.json")), images)
    report = quantize(DRAWN, out, choose(images, 4), judge)
    assert set(report.engines) <= set(ENGINES)
    again = judge.measure(out)
    for name, change in report.engines.items():
        assert change.AP is not None and change.AP[0] > 0.5
        assert change.AP[1] == pytest.approx(again[name])
        assert change.AP[0] - change.AP[1] < LOSS
    assert report.float_layers[:2] == ["final_layers.0", "final_layers.1"]
    assert len(report.float_layers) > 2  # of an untrained network hardly any layer may be in int8
    _, header = load_engine(EngineOptions(str(out), "onnxruntime"))
    _, before = load_engine(EngineOptions(str(DRAWN), "onnxruntime"))
    assert header.training["int8"]["float_layers"] == report.float_layers
    assert replace(header, training=before.training) == before


@TRUNKS
def test_layers_left_float_have_no_integers(narrow: Model, scenes: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(narrow.onnx, engine="onnxruntime")
    network = FloatNetwork(narrow.onnx, predictor.header)
    ranges, _ = calibrate(network, predictor, choose(scenes / "images", 2))
    network.write(tmp_path / "none.onnx", ranges, network.layers)
    network.write(tmp_path / "all.onnx", ranges, [])
    (views,) = read_views(predictor, choose(scenes / "images", 1)[0])
    same, _ = load_engine(EngineOptions(str(tmp_path / "none.onnx"), "onnxruntime"))
    for given, expected in zip(same(views), predictor.engine(views), strict=True):
        np.testing.assert_allclose(given, expected, atol=1e-5 * np.abs(expected).max())
    weights = {w.name: w.data_type for w in onnx.load(tmp_path / "all.onnx").graph.initializer}
    floats = [n for n in weights if n.endswith(".weight") and not n.startswith("final_layers")]
    assert not floats
    assert onnx.TensorProto.INT8 in weights.values()


def test_ranges_are_those_of_what_the_predictor_shows(narrow: Model, scenes: Path) -> None:
    predictor = Predictor.load(narrow.onnx, engine="onnxruntime")
    network = FloatNetwork(narrow.onnx, predictor.header)
    photographs = choose(scenes / "images", 3)
    ranges, shown = calibrate(network, predictor, photographs)
    assert shown == photographs
    views = [views for source in shown for views in read_views(predictor, source)]
    low, high = ranges["images"].range_value
    assert low == min(v.min() for v in views) and high == max(v.max() for v in views)


def test_a_layer_with_a_spoilt_range_is_the_most_sensitive(narrow: Model, scenes: Path) -> None:
    predictor = Predictor.load(narrow.onnx, engine="onnxruntime")
    network = FloatNetwork(narrow.onnx, predictor.header)
    photographs = choose(scenes / "images", 2)
    ranges, _ = calibrate(network, predictor, photographs)
    samples = [views for source in photographs for views in read_views(predictor, source)]
    truth = [predictor.engine(views) for views in samples]
    (deconv,) = [node for node in network.proto.graph.node if node.op_type == "ConvTranspose"]
    high = np.float32(1e4)
    (relu,) = [n for n in network.proto.graph.node if deconv.output[0] in n.input]
    for name in (deconv.output[0], relu.output[0]):
        ranges[name] = TensorData(lowest=-high, highest=high)
    order = rank_layers(network, ranges, samples, truth)
    assert sorted(order) == sorted(network.layers)
    assert order[0].startswith("deconv_layers.0")


@pytest.mark.slow
def test_a_trained_network_keeps_its_maps_in_both_engines(tmp_path: Path) -> None:
    write_scenes(tmp_path, 8, seed=5, height=128, width=128, people=(1, 3))
    out = tmp_path / "int8.onnx"
    report = quantize(DRAWN, out, choose(tmp_path / "images", 8))
    for change in report.engines.values():
        assert change.AP is None
        assert 0 < change.heatmap_error < 0.1 and 0 < change.tag_error < 0.1
    assert report.bytes[1] == out.stat().st_size < 0.8 * DRAWN.stat().st_size


@pytest.mark.parametrize("engine", ENGINES)
def test_an_int8_model_runs_at_any_size(
    engine: EngineName, narrow: Model, scenes: Path, tmp_path: Path
) -> None:
    quantize(narrow.onnx, tmp_path / "a.onnx", choose(scenes / "images", 2))
    runner, _ = load_engine(EngineOptions(str(tmp_path / "a.onnx"), engine, threads=1))
    low, high = runner(np.zeros((2, 3, 96, 160), np.float32))
    assert low.shape == (2, 34, 24, 40) and high.shape == (2, 17, 48, 80)
    with pytest.raises(InputError, match="int8 already"):
        quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", choose(scenes / "images", 2))


def test_photographs_are_spread_over_the_folder(tmp_path: Path) -> None:
    write_scenes(tmp_path, 9, height=32, width=32)
    (tmp_path / "images" / "clip.mp4").touch()
    chosen = choose(tmp_path / "images", 3)
    assert [int(Path(source.name).stem) for source in chosen] == [1, 5, 9]
    assert len(choose(tmp_path / "images", 100)) == 9


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "higherhrnet", "export", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def test_the_command(narrow: Model, tmp_path: Path) -> None:
    write_scenes(tmp_path, 3, height=64, width=64)
    (tmp_path / "images" / "000000000002.png").write_bytes(b"no picture")
    out = tmp_path / "out" / "int8.onnx"
    ended = run(narrow.safetensors, out, "--int8", "--calibrate", tmp_path / "images")
    assert ended.returncode == 3, ended.stderr
    assert "skipped: " in ended.stderr and "000000000002.png" in ended.stderr
    assert "times as fast" in ended.stdout and "2 of" in ended.stdout
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["photographs"] == 2
    assert set(report["engines"]) == {"onnxruntime", "openvino"}
    for engine in ENGINES:
        assert "int8" in load_engine(EngineOptions(str(out), engine))[0].description


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--int8"], "--calibrate"),
        (["--calibrate", "images"], "--int8"),
        (["--half", "--int8", "--calibrate", "images"], "--half"),
        (["--int8", "--calibrate", "nowhere"], "nowhere: no such folder"),
        (["--int8", "--calibrate", "empty"], "empty"),
        (["--int8", "--calibrate", "broken"], "none of the photographs"),
        (["--int8", "--calibrate", "images", "--calibration-images", "0"], "at least 1"),
        (["--int8", "--calibrate", "images", "--annotations", "nothing.json"], "nothing.json"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: Sequence[str],
    said: str,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from higherhrnet.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")
    (tmp_path / "images").symlink_to(scenes / "images")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(DRAWN), "a.onnx", *arguments])
    assert ended.value.code == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("higherhrnet: ") and said in line
