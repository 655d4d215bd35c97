"""Configurations are checked when made and come back from a file's header as they were."""

import json
from dataclasses import FrozenInstanceError, asdict, dataclass, replace
from typing import Any

import pytest

from higherhrnet.config import DecodeConfig, Header, InferenceConfig, InputConfig, ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.plain import from_dict
from higherhrnet.skeleton import COCO, CROWDPOSE, Skeleton

CUSTOM = Header(
    ModelConfig(8, 3, tag_per_keypoint=False, deconv_kernels=(4, 2), deconv_blocks=1),
    Skeleton("rope", ("a", "b", "c"), (("a", "b"), ("b", "c")), (0.1, 0.2, 0.3), (2, 0, 1)),
    InputConfig(96, (0.0, 0.1, 0.2), (1.0, 0.5, 0.25), "unbiased"),
    InferenceConfig(
        flip=False, scales=(0.5, 1.0, 2.0), decode=DecodeConfig(7, oks_nms=0.75, limit=3)
    ),
    {"epochs": 3, "data": ["x", "y"], "AP": 0.5, "licence": None},
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
        (ModelConfig, {"num_keypoints": 0}, "num_keypoints must be at least 1"),
        (ModelConfig, {"deconv_blocks": -1}, "deconv_blocks must not be negative"),
        (ModelConfig, {"deconv_kernels": (4, 5)}, "deconv_kernels must each be 2, 3 or 4"),
        (InputConfig, {"size": 500}, "input size must be a multiple of 32, not 500"),
        (InputConfig, {"size": 0}, "input size must be a multiple of 32, not 0"),
        (InputConfig, {"size": -64}, "input size must be a multiple of 32, not -64"),
        (InputConfig, {"std": (1, 0, 1)}, "std must be above 0"),
        (InputConfig, {"convention": "mine"}, "convention must be one of"),
        (DecodeConfig, {"max_people": 0}, "max_people must be at least 1, not 0"),
        (DecodeConfig, {"peak_window": 4}, "peak_window must be odd, not 4"),
        (DecodeConfig, {"peak_window": -1}, "peak_window must be odd, not -1"),
        (DecodeConfig, {"oks_nms": 0.0}, "oks_nms must be between 0 and 1"),
        (DecodeConfig, {"oks_nms": 1.1}, "oks_nms must be between 0 and 1"),
        (DecodeConfig, {"limit": 0}, "limit must be at least 1, not 0"),
        (InferenceConfig, {"scales": ()}, "scales must be above 0"),
        (InferenceConfig, {"scales": (1.0, 0.0)}, "scales must be above 0"),
        (InferenceConfig, {"scales": (0.5, 2.0)}, "scales must include 1"),
        (Header, {"skeleton": CROWDPOSE}, "gives 17 keypoints, the skeleton crowdpose has 14"),
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused(
    kind: type[Any], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        kind(**values)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ModelConfig, {"width": 1, "num_keypoints": 1, "deconv_kernels": (), "deconv_blocks": 0}),
        (InputConfig, {"size": 32}),
        (DecodeConfig, {"max_people": 1, "peak_window": 1, "oks_nms": 1.0, "limit": 1}),
        (InferenceConfig, {"scales": (0.7,)}),
        (InferenceConfig, {"scales": (2, 1, 0.5)}),
    ],
    ids=str,
)
def test_the_smallest_values_that_make_sense_are_taken(
    kind: type[Any], values: dict[str, Any]
) -> None:
    made = kind(**values)
    assert {name: getattr(made, name) for name in values} == values


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        ModelConfig().width = 48  # type: ignore[misc]
    with pytest.raises(InputError):
        replace(ModelConfig(), width=0)


@pytest.mark.parametrize(("per_keypoint", "tags"), [(True, 5), (False, 1)])
def test_keypoints_have_a_tag_each_or_share_one(per_keypoint: bool, tags: int) -> None:
    assert ModelConfig(num_keypoints=5, tag_per_keypoint=per_keypoint).num_tags == tags


def test_the_defaults_are_the_published_settings() -> None:
    assert (Header().model.width, Header().skeleton, Header().input.size) == (32, COCO, 512)
    decode = DecodeConfig()
    assert (decode.max_people, decode.min_peak, decode.max_tag_distance) == (30, 0.1, 1.0)
    assert (decode.peak_window, decode.adjust, decode.refine) == (5, True, True)
    assert (decode.min_refined_score, decode.min_score, decode.oks_nms) == (0, 0, None)
    test = InferenceConfig()
    assert (test.flip, test.align_flip, test.scales, test.project) == (True, False, (1,), True)


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_comes_back_from_a_files_metadata(header: Header) -> None:
    metadata = header.to_metadata()
    assert all(isinstance(text, str) for text in (*metadata, *metadata.values()))
    back = Header.from_metadata({"format": "pt", **metadata}, "file")
    assert back == header
    assert back.skeleton.flip_index == header.skeleton.flip_index
    hash(back.skeleton)  # lists would have no hash


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}], ids=str)
def test_a_file_without_a_header_is_named_with_the_way_out(metadata: dict[str, str] | None) -> None:
    with pytest.raises(InputError, match=r"^w\.pth: no higherhrnet header .* `higherhrnet convert"):
        Header.from_metadata(metadata, "w.pth")


def changed(*path: str, to: object) -> str:
    """The custom header's text with one value changed."""
    values = asdict(CUSTOM)
    inner = values
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return json.dumps(values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "5",
        "[]",
        '"text"',
        changed("colour", to=3),
        changed("model", to=[]),
        changed("model", to=None),
        changed("model", "depth", to=3),
        changed("model", "width", to=0),
        changed("model", "width", to="32"),
        changed("model", "width", to=None),
        changed("model", "num_keypoints", to=17),
        changed("model", "deconv_kernels", to=4),
        changed("skeleton", to={"name": "rope"}),
        changed("skeleton", "limbs", to=[["a"]]),
        changed("skeleton", "sigmas", to=["a", "b", "c"]),
        changed("input", "std", to=[0, 0, 0]),
        changed("test", "decode", to={"peak_window": 2}),
        changed("test", "decode", to=[]),
        changed("test", "scales", to=["1"]),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_with_the_files_name(text: str) -> None:
    with pytest.raises(InputError, match=r"^w\.onnx: its header cannot be read: ") as refused:
        Header.from_metadata({Header.KEY: text}, "w.onnx")
    assert "\n" not in str(refused.value)


@dataclass(frozen=True)
class Inner:
    pairs: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner
    several: tuple[Inner, ...] = ()
    limit: int | None = None


def test_nested_values_are_built_and_lists_made_tuples() -> None:
    values = {"inner": {"pairs": [["a", 1], ["b", 2]]}, "several": [{}, {"pairs": []}], "limit": 2}
    expected = Outer(Inner((("a", 1), ("b", 2))), (Inner(), Inner()), 2)
    assert from_dict(Outer, values) == expected
    assert from_dict(Outer, {"inner": {}}) == Outer(Inner())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {}, "y": 1, "x": 1}, "Outer has no x, y"),
        ({"inner": {"pair": []}}, "Inner has no pair"),
        ({"inner": {}, "several": [{"z": 1}]}, "Inner has no z"),
        ({"inner": 5}, "(?i)inner"),
        ({"inner": []}, "(?i)inner"),
        ({"inner": None}, "(?i)inner"),
        ({"inner": {"pairs": 5}}, "(?i)inner|pairs"),
    ],
    ids=str,
)
def test_a_dictionary_that_does_not_fit_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_dict(Outer, values)
