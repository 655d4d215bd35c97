"""A graph with decoding finds the same people as the predictor, for all settings of the header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from higherhrnet import Poses, Predictor
from higherhrnet.arrays import FloatArray, Image
from higherhrnet.config.centers import CenterDecodeConfig
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import HeadName, InputConfig, ModelConfig
from higherhrnet.config.offsets import OffsetDecodeConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.decoding.assignment import assign
from higherhrnet.engines.base import FunctionEngine
from higherhrnet.errors import InputError
from higherhrnet.geometry import resize_for_network
from higherhrnet.graph.decode import assignment
from higherhrnet.graph.decode.people import add_decoding
from higherhrnet.graph.decode.preprocess import network_input
from higherhrnet.graph.decode.preprocess import resize_for_network as add_resize
from higherhrnet.graph.decode.program import Program
from higherhrnet.graph.decode.tensor import Tensor
from higherhrnet.graph.export import export_people, read_network
from higherhrnet.io.images import read_image
from higherhrnet.poses.skeletons import COCO, CROWDPOSE
from higherhrnet.synthetic.maps import SYNTHESIZERS
from higherhrnet.synthetic.scenes import draw_scene
from tests.conftest import ModelFiles, RunMain

EXAMPLES = Path(__file__).parents[2] / "examples"
HEIGHT, WIDTH = 256, 320
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
Run = Callable[[Image], Poses]


def run_program(program: Program, outputs: Sequence[Tensor], **inputs: Any) -> list[Any]:  # noqa: ANN401
    """Runs the nodes of a program on arrays."""
    parameters = [program.input(name, values.dtype) for name, values in inputs.items()]
    session = program_session(program, outputs, parameters)
    return list(session.run([output.name for output in outputs], inputs))


def program_session(program: Program, outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401
    """Loads the nodes of a program with ONNX Runtime."""
    graph = helper.make_graph(
        program.nodes,
        "test",
        [tensor.info() for tensor in inputs],
        [tensor.info() for tensor in outputs],
        program.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString())


def fixed_network(levels: Sequence[FloatArray]) -> onnx.ModelProto:
    """A network whose outputs are the same for every image."""
    names = [f"maps{index}" for index in range(len(levels))]
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}.values"], [name], name=name) for name in names],
        "fixed",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [None, 3, None, None])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
        [
            numpy_helper.from_array(level, f"{name}.values")
            for name, level in zip(names, levels, strict=True)
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def session_of(model: onnx.ModelProto, header: Header) -> Run:
    """Adds the decoding to a network and returns a function that runs it."""
    add_decoding(model, header)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    # The checker needs the shape of the input, which is not declared, since both ranks are valid.
    model.graph.input[0].type.tensor_type.shape.dim.add()
    onnx.checker.check_model(model)

    def run(image: Image) -> Poses:
        keypoints, scores = session.run(["keypoints", "scores"], {"image": image})
        return Poses(keypoints[..., :2], keypoints[..., 2], scores, header.skeleton)

    return run


def assert_same(poses: Poses, expected: Poses) -> None:
    assert len(poses) == len(expected)
    np.testing.assert_allclose(poses.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(poses.keypoint_scores, expected.keypoint_scores, atol=1e-4)
    np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=1e-2)


def maps_of(header: Header, people: int, seed: int) -> list[FloatArray]:
    """Synthetic outputs of the network that a header describes."""
    flip, count = header.inference.flip, len(header.skeleton)
    outputs = SYNTHESIZERS[header.model.head](people, HEIGHT, WIDTH, seed, header.skeleton, flip)
    if header.model.head != "tags":
        return list(outputs)
    coarse, fine = outputs
    levels = [coarse[:, : count + header.model.num_tags], fine]
    return levels[: len(header.model.strides)]


def compare_on_maps(header: Header, people: int, seed: int = 0) -> int:
    """Compares the people in synthetic maps; returns their number."""
    header = replace(header, input=replace(header.input, size=HEIGHT))
    levels = maps_of(header, people, seed)
    poses = session_of(fixed_network(levels), header)(IMAGE)
    expected = Predictor(FunctionEngine("maps", lambda images: levels), header)(IMAGE)
    assert_same(poses, expected)
    return len(poses)


def header_of(
    flip: bool = True,
    project: bool = True,
    model: ModelConfig | None = None,
    **decode: Any,  # noqa: ANN401
) -> Header:
    config = InferenceConfig(flip=flip, project=project, decode=DecodeConfig(**decode))
    return Header(model or ModelConfig(), inference=config)


@pytest.mark.slow
@pytest.mark.parametrize("people", [0, 1, 5, 30])
def test_the_people_of_synthetic_maps_are_found(people: int) -> None:
    assert compare_on_maps(header_of(), people) >= people
    compare_on_maps(header_of(oks_nms=0.5), people)


@pytest.mark.parametrize(
    "header",
    [
        header_of(flip=False),
        header_of(project=False),
        header_of(adjust=False, refine=False),
        header_of(adjust=False),
        header_of(score_in_cost=False, position_weight=0.7),
        header_of(peak_window=9, min_peak=0.4, min_refined_score=0.1),
        header_of(min_score=0.3),
        header_of(oks_nms=0.02),
        header_of(max_results=4, oks_nms=0.3),
        header_of(max_people=4),
        header_of(max_tag_distance=0.1),
        header_of(model=ModelConfig(deconv_kernels=()), project=False),
        Header(ModelConfig(num_keypoints=14), CROWDPOSE, InputConfig(convention="unbiased")),
    ],
    ids=lambda header: "",
)
def test_the_settings_of_the_header_are_applied(header: Header) -> None:
    assert compare_on_maps(header, 8, seed=2) > 0


@pytest.mark.slow
def test_heatmaps_at_stride_4_only_are_supported() -> None:
    for seed in range(2, 5):
        compare_on_maps(header_of(model=ModelConfig(deconv_kernels=())), 5, seed)


@pytest.mark.parametrize("project", [True, False])
def test_heatmaps_at_stride_1_are_supported(project: bool) -> None:
    header = header_of(model=ModelConfig(deconv_kernels=(4, 4)), project=project)
    header = replace(header, input=replace(header.input, size=HEIGHT))
    coarse, fine = maps_of(header, 3, 2)
    levels = [coarse, fine, fine.repeat(2, 2).repeat(2, 3)]
    poses = session_of(fixed_network(levels), header)(IMAGE)
    assert len(poses) >= 3
    assert_same(poses, Predictor(FunctionEngine("maps", lambda images: levels), header)(IMAGE))


def test_one_tag_map_for_all_keypoints_is_supported() -> None:
    compare_on_maps(header_of(model=ModelConfig(tag_per_keypoint=False)), 3)


OFFSETS = ModelConfig(head="offsets")


def rescoring_network(context: bool = False) -> RescoringNetwork:
    """A rescoring network with random weights; with context, its predictions are about 0 to 1."""
    rng, links = np.random.default_rng(0), [(0, 1), (5, 6), (11, 12), (5, 11)]
    inputs = 3 * len(links) + 17 + 5 * context
    shapes = [(8, inputs), (8, 8), (1, 8)]
    layers = [
        (rng.standard_normal(shape, np.float32), rng.random(shape[0], np.float32))
        for shape in shapes
    ]
    if context:
        layers[-1] = (layers[-1][0] / np.float32(20), layers[-1][1])
    return RescoringNetwork.from_layers(layers, 17, links, [1, 2], context)


@pytest.mark.parametrize("people", [0, 1, 5, 30])
def test_people_are_found_by_their_centers_and_offsets(people: int) -> None:
    found = compare_on_maps(header_of(model=OFFSETS), people)
    assert (found > 0) == (people > 0)


@pytest.mark.parametrize(
    "header",
    [
        header_of(model=OFFSETS, flip=False),
        header_of(model=OFFSETS, max_people=3),
        header_of(model=OFFSETS, offsets=OffsetDecodeConfig(nms_order="score", nms_distance=0.6)),
        header_of(model=OFFSETS, offsets=OffsetDecodeConfig(nms_distance=0.6, nms_keypoints=4)),
        header_of(model=OFFSETS, offsets=OffsetDecodeConfig(min_center=0.5), min_score=0.4),
        replace(header_of(model=OFFSETS), input=InputConfig(convention="unbiased")),
        replace(header_of(model=OFFSETS), rescoring=rescoring_network()),
    ],
    ids=lambda header: "",
)
def test_the_settings_of_offset_models_are_applied(header: Header) -> None:
    assert compare_on_maps(header, 8, seed=1) > 0


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0)])
def test_offset_models_find_the_same_people(
    scales: tuple[float, ...], small_offset_model: ModelFiles
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)
    model, header = read_network(small_offset_model.onnx)
    config = replace(header.inference, scales=scales)
    expected = Predictor.load(
        small_offset_model.onnx, engine="onnxruntime", threads=1, config=config
    )(image)
    assert len(expected) > 0
    poses = session_of(model, replace(header, inference=config))(image)
    assert len(poses) == len(expected)
    assert (np.abs(poses.keypoints - expected.keypoints).max(-1) < 0.1).mean() > 0.95


@pytest.mark.parametrize("people", [0, 1, 5, 30])
def test_peaks_are_assigned_to_people_by_their_centers(people: int) -> None:
    header = header_of(model=ModelConfig(head="tags-and-offsets"))
    assert (compare_on_maps(header, people) > 0) == (people > 0)


@pytest.mark.parametrize(
    "header",
    [
        header_of(flip=False),
        header_of(max_people=3),
        header_of(peak_window=9, min_peak=0.4, min_score=0.4),
        header_of(centers=CenterDecodeConfig(0.5, 0.2, 0.5, 0.2)),
        replace(header_of(), input=InputConfig(convention="unbiased")),
    ],
    ids=lambda header: "",
)
def test_the_settings_of_models_with_centers_are_applied(header: Header) -> None:
    header = replace(header, model=ModelConfig(head="tags-and-offsets"))
    assert compare_on_maps(header, 8, seed=1) > 0


@pytest.mark.parametrize("head", ["offsets", "tags-and-offsets"])
@pytest.mark.parametrize("people", [0, 1, 8])
def test_people_are_rescored_by_what_is_around_them(people: int, head: HeadName) -> None:
    header = replace(header_of(model=ModelConfig(head=head)), rescoring=rescoring_network(True))
    assert (compare_on_maps(header, people, seed=1) > 0) == (people > 0)


def test_matching_is_not_supported() -> None:
    header = header_of(model=OFFSETS, offsets=OffsetDecodeConfig(match=True))
    with pytest.raises(InputError, match=r"--decode does not support matching"):
        add_decoding(fixed_network([]), header)


COSTS = st.tuples(st.integers(1, 7), st.integers(0, 4), st.integers(0, 2**32 - 1))


@settings(max_examples=60, deadline=None)
@given(COSTS)
def test_the_assignment_equals_that_of_the_decoder_also_for_equal_costs(
    case: tuple[int, int, int],
) -> None:
    rows, surplus, seed = case
    cost = np.random.default_rng(seed).integers(0, 4, (rows, rows + surplus)).astype(np.float64)
    (columns,) = ASSIGN.run(None, {"cost": cost})
    assert columns.tolist() == assign(cost).tolist()


def _assignment_session() -> Any:  # noqa: ANN401 (ONNX Runtime has no types)
    program = Program()
    cost = program.input("cost", np.float64)
    return program_session(program, [assignment.assign(program, cost)], [cost])


ASSIGN = _assignment_session()


@pytest.mark.parametrize("convention", ["reference", "unbiased"])
@pytest.mark.parametrize("size", [(32, 32), (480, 640), (301, 97), (40, 500), (3000, 4000)])
def test_images_are_resized_and_normalized_as_by_the_predictor(
    size: tuple[int, int],
    convention: Any,  # noqa: ANN401
) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image = np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    header = Header(
        input=InputConfig(64, mean=(0, 0, 0), std=(1 / 255,) * 3, convention=convention)
    )
    program = Program()
    pixels = program.input("image", np.uint8)
    view = add_resize(program, pixels, header, 2.0, 1.0)
    views = network_input(program, pixels, view, header)
    (computed,) = run_program(program, [views], image=image)
    expected = resize_for_network(*size, 64, 2.0, 1.0, convention).warp(image).transpose(2, 0, 1)
    # cv2.warpAffine rounds its weights, so that values may be rounded to the next integer.
    assert computed[0].shape == expected.shape
    difference = np.abs(computed[0] - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.02
    np.testing.assert_array_equal(computed[1], computed[0, :, :, ::-1])


@pytest.mark.parametrize(
    ("size", "scales", "flip"),
    [
        ((64, 64), (1.0,), True),
        ((32, 32), (1.0, 2.0), False),
        ((40, 60), (0.5, 1.0), True),
        ((100, 40), (1.0,), False),
    ],
)
def test_networks_find_the_same_people_at_any_size_and_scale(
    size: tuple[int, int], scales: tuple[float, ...], flip: bool, small_model: ModelFiles
) -> None:
    coarse = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    image = np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    model, header = read_network(small_model.onnx)
    decode = replace(header.inference.decode, max_people=4)
    config = replace(header.inference, scales=scales, flip=flip, align_flip=flip, decode=decode)
    predictor = Predictor.load(small_model.onnx, engine="onnxruntime", threads=1, config=config)
    run = session_of(model, replace(header, inference=config))
    expected = predictor(image)
    assert len(expected) > 0
    poses = run(image)
    assert len(poses) == len(expected)
    # The maps of an untrained network are noise: single keypoints may change with one pixel value.
    close = np.abs(poses.keypoints - expected.keypoints).max(-1) < 0.01
    assert close.mean() > 0.98
    assert_same(run(image[None]), poses)


def test_the_command_writes_a_file_that_finds_the_people_of_an_image(
    tmp_path: Path, run_main: RunMain
) -> None:
    out = tmp_path / "people.onnx"
    drawn = EXAMPLES / "drawn.onnx"
    result = run_main("export", drawn, out, "--decode", "--min-score", 0.5, "--no-flip")
    assert result.returncode == 0 and "people.onnx: " in result.stdout
    image = read_image(EXAMPLES / "scene.png")
    session = onnxruntime.InferenceSession(out)
    keypoints, scores = session.run(["keypoints", "scores"], {"image": image})
    model = onnx.load(out)
    assert {opset.domain for opset in model.opset_import} == {""}
    header = Header.from_metadata({p.key: p.value for p in model.metadata_props}, "")
    assert header.inference.decode.min_score == 0.5 and not header.inference.flip
    expected = Predictor.load(drawn, engine="onnxruntime", config=header.inference)(image)
    assert len(expected) == 3
    assert_same(Poses(keypoints[..., :2], keypoints[..., 2], scores, COCO), expected)


def test_weights_in_half_precision_are_supported(
    tmp_path: Path, small_model: ModelFiles, run_main: RunMain
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    network, people = tmp_path / "half.onnx", tmp_path / "people.onnx"
    assert run_main("export", small_model.safetensors, network, "--half").returncode == 0
    flags = ["--half", "--decode"]
    assert run_main("export", small_model.safetensors, people, *flags).returncode == 0
    expected = Predictor.load(network, engine="onnxruntime", threads=1)(image)
    _, scores = onnxruntime.InferenceSession(people).run(None, {"image": image})
    assert len(scores) == len(expected) > 0
    np.testing.assert_allclose(scores, expected.scores, atol=0.01)


def test_unsupported_settings_and_files_are_errors(
    tmp_path: Path, small_model: ModelFiles, run_main: RunMain
) -> None:
    out, people = tmp_path / "out.onnx", tmp_path / "people.onnx"
    (tmp_path / "text.onnx").write_text("text")
    model, header = read_network(small_model.onnx)
    export_people(people, model, header)
    for arguments, message in (
        (["default", out, "--fast"], "--fast and --min-score need --decode"),
        (["default", out, "--decode", "--fast", "--flip"], "--fast excludes --flip"),
        ([tmp_path / "text.onnx", out, "--decode"], "text.onnx: is not an ONNX model"),
        ([people, out, "--decode"], "the model contains its decoding already"),
        ([small_model.onnx, out, "--decode", "--scales", "1", "1.25"], "multiples of 32"),
        ([small_model.onnx, small_model.onnx, "--decode"], "would overwrite the model"),
        ([small_model.onnx, out, "--half"], "small.onnx: is an ONNX file already"),
        ([small_model.onnx, out], "small.onnx: is an ONNX file already"),
        ([small_model.safetensors, tmp_path / "a.txt"], "a.txt: must end in .onnx"),
    ):
        result = run_main("export", *arguments)
        assert result.returncode == 1 and result.stderr.count("\n") == 1, result
        assert message in result.stderr
        assert not out.exists()
    result = run_main("predict", EXAMPLES / "scene.png", "--model", people, "--out", tmp_path)
    assert result.returncode == 1 and "contains the decoding" in result.stderr


def test_maps_finer_than_the_input_are_not_supported() -> None:
    header = header_of(model=ModelConfig(deconv_kernels=(4, 4, 4)))
    with pytest.raises(InputError, match="at most 2 transposed-convolution modules, not 3"):
        add_decoding(fixed_network([np.zeros((1, 34, 16, 16), np.float32)]), header)


def test_the_convention_udp_is_not_supported() -> None:
    header = Header(input=InputConfig(convention="udp"))
    with pytest.raises(InputError, match="udp"):
        add_decoding(fixed_network([]), header)


@pytest.mark.slow
def test_openvino_finds_the_same_people_unless_assignments_have_equal_costs(tmp_path: Path) -> None:
    """Without rounded distances and with two tags, costs are not equal."""
    openvino = pytest.importorskip("openvino")
    model, header = read_network(EXAMPLES / "drawn.onnx")
    decode_config = replace(header.inference.decode, score_in_cost=False)
    header = replace(header, inference=replace(header.inference, flip=True, decode=decode_config))
    export_people(tmp_path / "people.onnx", model, header)
    graph = openvino.Core().read_model(tmp_path / "people.onnx")
    graph.reshape([-1, -1, 3])
    compiled = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(tmp_path / "people.onnx")
    image = draw_scene(0, height=256, width=320, people=(3, 6)).image
    expected = session.run(["keypoints", "scores"], {"image": image})
    found = compiled({"image": image})
    assert len(expected[1]) > 3
    for name, values in zip(["keypoints", "scores"], expected, strict=True):
        np.testing.assert_allclose(found[name], values, atol=1e-3)


def test_openvino_computes_float64_in_float32() -> None:
    """The documented cause of other assignments; if it fails, change docs/howto/onnx.md."""
    openvino = pytest.importorskip("openvino")
    program = Program()
    x = program.input("x", np.float64)
    program_output = (x + 1e-9) - x
    (exact,) = run_program(program, [program_output], x=np.ones(1))
    assert exact == pytest.approx(1e-9, rel=1e-6)
    operators = pytest.importorskip("openvino.opset15")
    parameter = operators.parameter([1], np.float64)
    total = operators.add(parameter, np.array([1e-9]))
    model = openvino.Model([operators.subtract(total, parameter)], [parameter])
    assert openvino.compile_model(model, "CPU")(np.ones(1))[0] == 0
