"""The listed models can be built by the package, and their table is complete."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from higherhrnet.config.header import Header
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.errors import InputError
from higherhrnet.poses.skeletons import SKELETONS
from higherhrnet.zoo.published import PUBLISHED, published_model
from higherhrnet.zoo.published_model import PublishedModel
from higherhrnet.zoo.table import LATENCY_NOTE, format_models, model_cells

ROOT = Path(__file__).parents[2]
AP_RANGES = {
    "COCO val2017": (60, 75),
    "CrowdPose test": (60, 75),
    "AI Challenger validation": (30, 35),
    "COCO-WholeBody v1.0 val": (40, 50),
}
"""The lowest and the highest plausible AP on each dataset."""

each_model = pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)


@each_model
def test_addresses_are_https_and_names_are_valid_file_names(model: PublishedModel) -> None:
    for address in (model.url, model.page):
        assert urlsplit(address).scheme == "https"
        assert urlsplit(address).netloc
    assert re.fullmatch(r"[a-z0-9-]+", model.name)


@each_model
def test_models_have_a_known_skeleton_and_a_valid_configuration(model: PublishedModel) -> None:
    if model.weight_format == "imagenet":
        assert (model.skeleton, model.input_size, model.ap) == (None, None, None)
        return
    assert model.skeleton in SKELETONS
    assert model.input_size is not None
    assert model.evaluated_on is not None
    skeleton = SKELETONS[model.skeleton]
    Header(ModelConfig(model.width, len(skeleton)), skeleton, InputConfig(model.input_size))
    assert model.ap is not None
    low, high = AP_RANGES[model.evaluated_on]
    assert low < model.ap < (model.ap_multi_scale or high) < high + 1e-9
    if model.ap_multi_scale is None:
        is_dekr_1 = model.name.startswith("mmpose1-dekr")
        assert "udp" in model.name or is_dekr_1 or model.skeleton == "coco_wholebody"


@each_model
def test_digests_have_a_supported_format(model: PublishedModel) -> None:
    if model.digest is None:
        return
    assert re.fullmatch("sha256:[0-9a-f]{8,64}|sha384:[0-9a-f]{96}", model.digest)
    if model.weight_format == "mmpose":
        digest = re.search(r"[-_]([0-9a-f]{8})[-_]\d{8}\.pth$", model.url)
        assert digest is not None
        assert model.digest == f"sha256:{digest[1]}"


def test_names_and_addresses_are_unique() -> None:
    assert len({model.name for model in PUBLISHED}) == len(PUBLISHED)
    assert len({model.url for model in PUBLISHED}) == len(PUBLISHED)


def test_the_models_of_the_paper_and_of_four_skeletons_are_listed() -> None:
    assert {"w32-512", "w32-640", "w48-640"} <= {model.name for model in PUBLISHED}
    skeletons = {"coco", "crowdpose", "aic", "coco_wholebody", None}
    assert {model.skeleton for model in PUBLISHED} == skeletons


def test_a_model_is_returned_by_name() -> None:
    assert published_model("w48-640").width == 48


@pytest.mark.parametrize(
    ("name", "hint"), [("w32_512", "did you mean w32-512"), ("yolo", "higherhrnet models")]
)
def test_an_unknown_name_is_rejected_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        published_model(name)


def test_the_table_has_aligned_columns_and_lists_the_address_of_each_model() -> None:
    table, note, files = (part.splitlines() for part in format_models(PUBLISHED).split("\n\n"))
    assert note == [LATENCY_NOTE]
    assert files == [f"{m.name}: {m.url}, {m.digest or 'no digest'}" for m in PUBLISHED]
    heading, *rows = table
    column = heading.index("width")
    for row, model in zip(rows, PUBLISHED, strict=True):
        assert row.startswith(f"{model.name} ")
        assert row[column:].startswith(f"{model.width} ")


def cells(name: str) -> list[str]:
    heading, row = format_models([published_model(name)]).splitlines()[:2]
    starts = [match.start() for match in re.finditer(r"(?<!\S)\S+(?: \S+)*", heading)]
    return [row[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]


LATENCY = re.compile(r"\d\.\d\d / \d\.\d\d s")


def test_the_table_states_the_published_values() -> None:
    row = cells("w32-512")
    assert LATENCY.fullmatch(row.pop(9))
    assert row == [
        "w32-512", "32", "17", "512 px", "67.1", "69.9", "COCO val2017", "28.6 M", "46.2 G",
        "115 MB", "MIT", "no",
    ]  # fmt: skip


def test_the_table_marks_unknown_values_and_backbones() -> None:
    assert cells("imagenet-w32") == [
        "imagenet-w32", "32", "–", "–", "–", "–", "– (backbone)", "–", "–", "–",
        "unknown", "MIT", "no",
    ]  # fmt: skip
    assert cells("mmpose-udp-w48-512")[4:6] == ["69.0", "–"]
    assert cells("mmpose-udp-w48-512")[10] == "≈ 255 MB"


def test_the_readme_states_the_values_of_the_models_that_it_lists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| (\d.+) \|$", readme, re.M)
    assert {"w32-512", "w48-640"} < {name for name, _ in rows}
    for name, row in rows:
        expected = model_cells(published_model(name))
        latency_with_flip = expected["latency"].split(" / ")[1]
        assert row.split(" | ") == [
            *(expected[heading] for heading in ("AP, one scale", "evaluated on", "parameters")),
            latency_with_flip,
            expected["license"],
        ]


def test_the_documentation_of_the_models_has_the_note_on_latency() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert LATENCY_NOTE.removeprefix("latency: ") in " ".join(page.split())


def test_the_documentation_has_a_row_and_a_card_of_every_model() -> None:
    model_cards = pytest.importorskip("docs.model_cards")  # needs Sphinx
    lines = model_cards.table().splitlines()
    for model in PUBLISHED:
        [row] = [line for line in lines if f"(#{model.name})" in line]
        assert model_cells(model)["latency"] in row
        assert f"### {model.name}\n" in model_cards.card(model)


def test_the_table_of_no_models_is_its_heading() -> None:
    assert format_models([]).startswith("name")
