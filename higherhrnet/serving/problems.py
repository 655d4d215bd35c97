"""Error responses: RFC 9457 problem JSON with the reason in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """The reason why a request failed."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "title": "Unsupported Media Type",
                "status": 415,
                "detail": "the data is not a JPEG, PNG or WebP image",
            }
        }
    )

    title: str = Field(description="The name of the HTTP status.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong with this request.")


def openapi_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI entries of error responses, by status."""
    schema = Problem.model_json_schema()
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def image_prefix(index: int, count: int) -> str:
    """Returns the beginning of an error message that names one of several images of a request."""
    return f"image {index + 1} of {count}: " if count > 1 else ""


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(content.model_dump(), status, headers, MEDIA_TYPE)


async def _http_error(request: Request, error: HTTPException) -> Response:
    return _problem(error.status_code, _detail(request, error), error.headers)


def _detail(request: Request, error: HTTPException) -> str:
    """Returns the reason; the router's own errors have the name of the status as their reason."""
    if error.detail != HTTPStatus(error.status_code).phrase:
        return error.detail
    path = request.url.path
    if allowed := (error.headers or {}).get("Allow"):
        return f"{path} does not accept {request.method}; use {allowed}"
    return f"{path} is not an endpoint; GET /openapi.json describes the API"


async def _invalid_parameters(_: Request, error: RequestValidationError) -> Response:
    return _problem(422, "; ".join(map(_invalid_parameter, error.errors())))


def _invalid_parameter(error: Mapping[str, Any]) -> str:
    name = ".".join(map(str, error["loc"][1:]))
    if error["type"] == "extra_forbidden":
        return f"{name} is not a query parameter of this endpoint"
    return f"{name}: {error['msg']}"


async def _client_disconnected(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # no client receives it; it is for the metrics


async def _internal_error(_: Request, __: Exception) -> Response:
    return _problem(500, "internal error; the log of the service contains the traceback")


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    HTTPException: _http_error,
    RequestValidationError: _invalid_parameters,
    ClientDisconnect: _client_disconnected,
    Exception: _internal_error,
}
"""The exception handlers of the application, which make the error responses."""
