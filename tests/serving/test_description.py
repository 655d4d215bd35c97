"""The service does what its own OpenAPI description says, whatever is asked of it."""

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
from tests.serving.conftest import Service

OPERATIONS = [
    "POST /poses",
    "POST /picture",
    "GET /metrics",
    "GET /about",
    "GET /health",
    "GET /ready",
]


def pictures(suffix: str) -> st.SearchStrategy[bytes]:
    sides = st.integers(16, 96)
    return st.builds(
        lambda seed, *size: encode_image(
            draw_scene(seed, height=size[0], width=size[1]).image, suffix
        ),
        st.integers(0, 99),
        sides,
        sides,
    )


for kind in ("jpeg", "png", "webp"):
    schemathesis.openapi.media_type(f"image/{kind}", pictures(f".{kind}"))


@pytest.fixture(scope="module")
def schema(service: Service) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json")


def test_these_are_all(schema: schemathesis.BaseSchema) -> None:
    assert sorted(
        f"{method.upper()} {path}"
        for path, methods in schema.raw_schema["paths"].items()
        for method in methods
    ) == sorted(OPERATIONS)
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(schema.raw_schema)))
    assert named <= set(schema.raw_schema["components"]["schemas"])


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, GenerationMode.POSITIVE) for label in OPERATIONS]
    + [(label, GenerationMode.NEGATIVE) for label in OPERATIONS[:2]],  # the others take nothing
)
def test_an_operation_does_what_it_says(
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
