"""What is listed must be what the package can build, and only what the record gives."""

import re
from urllib.parse import urlsplit

import pytest

from higherhrnet.config import Header, InputConfig, ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.skeleton import SKELETONS
from higherhrnet.zoo.published import PUBLISHED, PublishedModel, format_models, published_model

each_model = pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)


@each_model
def test_addresses_are_https_and_names_are_file_names(model: PublishedModel) -> None:
    for address in (model.url, model.page):
        assert urlsplit(address).scheme == "https"
        assert urlsplit(address).netloc
    assert re.fullmatch(r"[a-z0-9-]+", model.name)


@each_model
def test_pose_models_fit_the_package(model: PublishedModel) -> None:
    if model.source == "imagenet":
        assert (model.skeleton, model.input_size, model.ap) == (None, None, None)
        return
    assert model.skeleton in SKELETONS
    assert model.input_size is not None
    assert model.measured_on is not None
    skeleton = SKELETONS[model.skeleton]
    Header(ModelConfig(model.width, len(skeleton)), skeleton, InputConfig(model.input_size))
    assert model.ap is not None
    assert model.ap_multi_scale is not None
    assert 60 < model.ap < model.ap_multi_scale < 75


@each_model
def test_digests_have_the_form_that_is_checked(model: PublishedModel) -> None:
    if model.digest is None:
        return
    assert re.fullmatch("sha256:[0-9a-f]{8,64}|sha384:[0-9a-f]{96}", model.digest)
    if model.source == "mmpose":
        in_name = re.search(r"-([0-9a-f]{8})_\d{8}\.pth$", model.url)
        assert in_name is not None
        assert model.digest == f"sha256:{in_name[1]}"


def test_names_and_addresses_are_unique() -> None:
    assert len({model.name for model in PUBLISHED}) == len(PUBLISHED)
    assert len({model.url for model in PUBLISHED}) == len(PUBLISHED)


def test_the_weights_of_the_paper_and_both_skeletons_are_there() -> None:
    assert {"w32-512", "w32-640", "w48-640"} <= {model.name for model in PUBLISHED}
    assert {model.skeleton for model in PUBLISHED} == {"coco", "crowdpose", None}


def test_found_by_name() -> None:
    assert published_model("w48-640").width == 48


@pytest.mark.parametrize(
    ("name", "way_out"), [("w32_512", "did you mean w32-512"), ("yolo", "higherhrnet models")]
)
def test_unknown_name_says_what_there_is(name: str, way_out: str) -> None:
    with pytest.raises(InputError, match=way_out):
        published_model(name)


def test_table_has_a_line_a_model_and_columns_that_line_up() -> None:
    lines, places = (part.splitlines() for part in format_models(PUBLISHED).split("\n\n"))
    for place, model in zip(places, PUBLISHED, strict=True):
        assert place == f"{model.name}: {model.url}, {model.digest or 'no digest'}"
    assert len(lines) == len(PUBLISHED) + 1
    column = lines[0].index("width")
    for line, model in zip(lines[1:], PUBLISHED, strict=True):
        assert line.startswith(f"{model.name} ")
        assert line[column:].startswith(f"{model.width} ")


def test_table_tells_what_is_known_and_what_is_not() -> None:
    known = format_models([published_model("w32-512")]).splitlines()[1]
    assert re.split("  +", known) == [
        "w32-512", "32", "512", "67.1 / 69.9 on COCO val2017", "115 MB", "MIT", "sha384",
    ]  # fmt: skip
    unknown = format_models([published_model("w48-640")]).splitlines()[1]
    assert re.split("  +", unknown)[-3:] == ["unknown", "MIT", "unknown"]


def test_table_of_nothing_is_its_heading() -> None:
    assert format_models([]).startswith("name")
