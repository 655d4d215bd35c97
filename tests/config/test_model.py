"""Configurations reject invalid values, and headers survive a file's metadata."""

import json
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from safetensors import safe_open

import higherhrnet
from higherhrnet.config.centers import CenterDecodeConfig
from higherhrnet.config.header import Header
from higherhrnet.config.inference import DecodeConfig, InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.errors import InputError
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO, CROWDPOSE

ZOO = Path(higherhrnet.__file__).parent / "zoo"
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CUSTOM = Header(
    ModelConfig(8, 3, tag_per_keypoint=False, deconv_kernels=(4, 2), deconv_blocks=1),
    Skeleton("rope", ("a", "b", "c"), (("a", "b"), ("b", "c")), (0.1, 0.2, 0.3), (2, 0, 1)),
    InputConfig(96, (0.0, 0.1, 0.2), (1.0, 0.5, 0.25), "unbiased"),
    InferenceConfig(
        flip=False, scales=(0.5, 1.0, 2.0), decode=DecodeConfig(7, oks_nms=0.75, max_results=3)
    ),
    {"epochs": 3, "data": ["x", "y"], "AP": 0.5, "license": None},
)
HEADERS = {
    "paper": Header(),
    "crowdpose": Header(ModelConfig(num_keypoints=14), CROWDPOSE),
    "custom": CUSTOM,
}


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ModelConfig, {"width": 0}, "width must be at least 1, not 0"),
        (ModelConfig, {"num_keypoints": 0}, "num_keypoints must be at least 1, not 0"),
        (ModelConfig, {"stem": "vgg"}, "stem must be one of hrnet, efficientnet-lite0"),
        (ModelConfig, {"modules": (1, 0, 1)}, "modules must be at least 1, not (1, 0, 1)"),
        (ModelConfig, {"blocks": 0}, "blocks must be at least 1, not 0"),
        (ModelConfig, {"deconv_blocks": -1}, "deconv_blocks must not be negative"),
        (ModelConfig, {"deconv_kernels": (4, 5)}, "deconv_kernels must each be 2, 3 or 4"),
        (InputConfig, {"size": 500}, "input size must be a multiple of 32, not 500"),
        (InputConfig, {"size": 0}, "input size must be a multiple of 32, not 0"),
        (InputConfig, {"size": -64}, "input size must be a multiple of 32, not -64"),
        (InputConfig, {"std": (1, 0, 1)}, "std must be above 0"),
        (InputConfig, {"convention": "mine"}, "convention must be one of reference, unbiased"),
        (DecodeConfig, {"max_people": 0}, "max_people must be at least 1, not 0"),
        (DecodeConfig, {"peak_window": 4}, "peak_window must be odd and positive, not 4"),
        (DecodeConfig, {"peak_window": -1}, "peak_window must be odd and positive, not -1"),
        (DecodeConfig, {"position_weight": -0.5}, "position_weight must not be negative"),
        (DecodeConfig, {"min_peak": float("nan")}, "min_peak must be a finite number, not nan"),
        (DecodeConfig, {"min_score": 1.5}, "min_score must be between 0 and 1, not 1.5"),
        (DecodeConfig, {"oks_nms": 0.0}, "oks_nms must be above 0 and at most 1, not 0.0"),
        (DecodeConfig, {"oks_nms": 1.1}, "oks_nms must be above 0 and at most 1, not 1.1"),
        (DecodeConfig, {"max_results": 0}, "max_results must be at least 1, not 0"),
        (InferenceConfig, {"size": 100}, "size must be a multiple of 32, not 100"),
        (InferenceConfig, {"scales": ()}, "scales must be above 0"),
        (InferenceConfig, {"scales": (1.0, 0.0)}, "scales must be above 0"),
        (InferenceConfig, {"scales": (1.0, float("inf"))}, "scales must be above 0 and finite"),
        (InferenceConfig, {"scales": (0.5, 2.0)}, "scales must include 1"),
        (Header, {"skeleton": CROWDPOSE}, "has 17 keypoints, the skeleton crowdpose has 14"),
        (
            Header,
            {
                "input": InputConfig(convention="unbiased"),
                "inference": InferenceConfig(align_flip=True),
            },
            "align_flip needs the reference convention",
        ),
    ],
    ids=str,
)
def test_invalid_values_are_rejected(kind: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        kind(**values)
    assert message in str(error.value)
    assert "\n" not in error.value.args[0]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ModelConfig, {"width": 1, "num_keypoints": 1, "deconv_kernels": (), "deconv_blocks": 0}),
        (InputConfig, {"size": 32}),
        (DecodeConfig, {"max_people": 1, "peak_window": 1, "oks_nms": 1.0, "max_results": 1}),
        (InferenceConfig, {"scales": (0.7,)}),
        (InferenceConfig, {"scales": (2, 1, 0.5)}),
    ],
    ids=str,
)
def test_smallest_valid_values_are_accepted(kind: type[Any], values: dict[str, Any]) -> None:
    config = kind(**values)
    assert {name: getattr(config, name) for name in values} == values


def test_configurations_are_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        ModelConfig().width = 48  # type: ignore[misc]
    with pytest.raises(InputError):
        replace(ModelConfig(), width=0)


@pytest.mark.parametrize(("tag_per_keypoint", "tags"), [(True, 5), (False, 1)])
def test_keypoints_have_one_tag_map_each_or_share_one(tag_per_keypoint: bool, tags: int) -> None:
    assert ModelConfig(num_keypoints=5, tag_per_keypoint=tag_per_keypoint).num_tags == tags


def test_defaults_are_the_published_settings() -> None:
    assert (Header().model.width, Header().skeleton, Header().input.size) == (32, COCO, 512)
    decode = DecodeConfig()
    assert (decode.max_people, decode.min_peak, decode.max_tag_distance) == (30, 0.1, 1.0)
    assert (decode.peak_window, decode.adjust, decode.refine) == (5, True, True)
    assert (decode.min_refined_score, decode.min_score, decode.oks_nms) == (0, 0, None)
    assert (decode.position_weight, decode.score_in_cost, decode.max_results) == (0, True, None)
    inference = InferenceConfig()
    assert (inference.size, inference.scales, inference.project) == (None, (1,), True)
    assert (inference.flip, inference.align_flip) == (True, False)


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_is_restored_from_metadata(header: Header) -> None:
    metadata = header.to_metadata()
    assert all(isinstance(text, str) for text in (*metadata, *metadata.values()))
    restored = Header.from_metadata({"format": "pt", **metadata}, "file")
    assert restored == header
    assert restored.skeleton.flip_index == header.skeleton.flip_index
    hash(restored.skeleton)  # fails if a list was not converted to a tuple


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}], ids=str)
def test_a_missing_header_is_reported_with_the_command_that_adds_it(
    metadata: dict[str, str] | None,
) -> None:
    with pytest.raises(InputError, match=r"^w\.pth: .*no higherhrnet header.*higherhrnet convert"):
        Header.from_metadata(metadata, "w.pth")


def custom_with(*path: str, to: object) -> str:
    """The JSON text of the custom header with one value replaced or added."""
    values = asdict(CUSTOM)
    parent = values
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = to
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("null", "must be an object, not None"),
        ("5", "must be an object, not 5"),
        ("[]", r"must be an object, not \[\]"),
        ('"text"', "must be an object, not 'text'"),
        (custom_with("color", to=3), '"color"'),
        (custom_with("model", "depth", to=3), '"depth"'),
        (custom_with("model", to=[]), '"model"'),
        (custom_with("model", to=None), '"model".*"None"'),
        (custom_with("model", "width", to=0), "width must be at least 1, not 0"),
        (custom_with("model", "width", to="32"), '"model.width".*"int".*"32"'),
        (custom_with("model", "width", to=32.0), '"model.width".*"int".*"32.0"'),
        (custom_with("model", "width", to=True), '"model.width".*"int".*"True"'),
        (custom_with("model", "width", to=None), '"model.width".*"None"'),
        (custom_with("model", "num_keypoints", to=17), "17 keypoints"),
        (custom_with("model", "deconv_kernels", to=4), '"model.deconv_kernels".*"4"'),
        (custom_with("model", "deconv_kernels", to=[4, True]), '"model.deconv_kernels".*"True"'),
        (custom_with("skeleton", to={"name": "rope"}), '"skeleton.names"'),
        (custom_with("skeleton", "names", to="abc"), '"skeleton.names"'),
        (custom_with("skeleton", "limbs", to=[["a"]]), '"skeleton.limbs"'),
        (custom_with("skeleton", "sigmas", to=["a", "b", "c"]), '"skeleton.sigmas"'),
        (custom_with("input", "mean", to=[0.5, 0.5]), '"input.mean"'),
        (custom_with("input", "std", to=[0, 0, 0]), r"std must be above 0, not \(0, 0, 0\)"),
        (custom_with("input", "std", to=[1, False, 1]), '"input.std".*"float".*"False"'),
        (custom_with("input", "convention", to="mine"), '"input.convention".*"mine"'),
        (custom_with("inference", "decode", to={"peak_window": 2}), "peak_window must be odd"),
        (custom_with("inference", "decode", to=[]), '"inference.decode"'),
        (custom_with("inference", "decode", "adjust", to=1), '"inference.decode.adjust".*"1"'),
        (custom_with("inference", "scales", to=["1"]), '"inference.scales"'),
        (custom_with("inference", "two\nlines", to=1), '"two lines"'),
    ],
)
def test_an_invalid_header_is_rejected_with_the_file_and_the_field(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^w\.onnx: the header is invalid: .*{reason}") as error:
        Header.from_metadata({Header.KEY: text}, "w.onnx")
    assert "\n" not in error.value.args[0]


def test_integers_are_accepted_for_numbers() -> None:
    text = custom_with("input", "std", to=[1, 2, 3])
    assert Header.from_metadata({Header.KEY: text}, "w.onnx").input.std == (1, 2, 3)


def metadata_of(path: Path) -> dict[str, str]:
    if path.suffix == ".onnx":
        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    with safe_open(path, "numpy") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


@pytest.mark.parametrize("name", ["default.onnx", "default.safetensors"])
def test_the_header_of_the_bundled_model_is_read(name: str) -> None:
    header = Header.from_metadata(metadata_of(ZOO / name), name)
    assert (header.model.stem, header.model.width, header.input.size) == ("movenet", 24, 320)
    assert (header.model.head, header.model.deconv_kernels) == ("tags-and-offsets", ())
    assert (header.inference.size, header.inference.scales) == (384, (1, 0.5))
    decode = header.inference.decode
    assert (decode.min_score, decode.peak_window) == (0.05, 3)
    assert decode.centers == CenterDecodeConfig(max_similarity=0.5)
    training = header.training
    assert (training["images"], training["batch_size"]) == (7918, 8)
    assert "Apache-2.0" in training["license"] and "346" in training["metrics"]
    assert not {"photographs", "batch", "licence", "figures"} & training.keys()


def test_the_header_of_the_example_model_is_read() -> None:
    header = Header.from_metadata(metadata_of(EXAMPLES / "drawn.onnx"), "drawn.onnx")
    assert (header.model.stem, header.model.width) == ("hrnet", 8)
    assert (header.inference.flip, header.inference.decode.oks_nms) == (False, 0.3)
    assert header.training["license"] == "MIT"


def test_the_earlier_name_of_the_reference_convention_is_read() -> None:
    text = custom_with("input", "convention", to="original")
    assert Header.from_metadata({Header.KEY: text}, "w").input.convention == "reference"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("???", "the rescoring network's weights are invalid"),
        ("AAAA", r"the rescoring network's weights have 3 bytes instead of \d+"),
    ],
)
def test_invalid_weights_of_a_rescoring_network_are_rejected(weights: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RescoringNetwork(2, ((0, 1),), (0,), 4, weights)
