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


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(content.model_dump(), status, headers, MEDIA_TYPE)


async def _http_error(_: Request, error: HTTPException) -> Response:
    return _problem(error.status_code, error.detail, error.headers)


async def _invalid_parameters(_: Request, error: RequestValidationError) -> Response:
    reasons = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
    return _problem(422, "; ".join(reasons))


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
