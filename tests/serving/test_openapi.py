"""Schemathesis: the responses to generated requests agree with the OpenAPI description."""

import base64
import json
import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from higherhrnet.io.images import encode_image
from higherhrnet.synthetic.scenes import draw_scene
from tests.serving.conftest import Service, serving

WITH_INPUT = ["POST /poses", "POST /image"]
OPERATIONS = [*WITH_INPUT, "GET /metrics", "GET /info", "GET /health", "GET /ready"]


def images(suffix: str) -> st.SearchStrategy[bytes]:
    sides = st.integers(16, 96)
    return st.builds(
        lambda seed, height, width: encode_image(
            draw_scene(seed, height=height, width=width).image, suffix
        ),
        st.integers(0, 99),
        sides,
        sides,
    )


schemathesis.openapi.format("byte", images(".png").map(base64.b64encode).map(bytes.decode))
for kind in ("jpeg", "png", "webp"):
    schemathesis.openapi.media_type(f"image/{kind}", images(f".{kind}"))


@pytest.fixture(scope="module")
def schema(service: Service) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json")


def test_the_description_contains_all_operations_and_schemas(
    schema: schemathesis.BaseSchema,
) -> None:
    assert sorted(
        f"{method.upper()} {path}"
        for path, methods in schema.raw_schema["paths"].items()
        for method in methods
    ) == sorted(OPERATIONS)
    referenced = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(schema.raw_schema)))
    assert referenced <= set(schema.raw_schema["components"]["schemas"])


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, GenerationMode.POSITIVE) for label in OPERATIONS if label not in WITH_INPUT]
    + [
        pytest.param(label, mode, marks=pytest.mark.slow)
        for label in WITH_INPUT
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ],
)
def test_responses_agree_with_the_description(
    label: str, mode: GenerationMode, schema: schemathesis.BaseSchema
) -> None:
    method, path = label.split()
    operation = schema[path][method]

    @settings(
        max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(timeout=30)

    check()


def test_the_description_contains_the_prefix_of_a_proxy() -> None:
    with serving("--root-path", "/pose") as service:
        assert service.request("GET", "/openapi.json").json["servers"] == [{"url": "/pose"}]
        assert service.request("GET", "/health").status == 200
