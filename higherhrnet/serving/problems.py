"""Errors as the client reads them: RFC 9457 problem JSON, with the reason in words."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """Why there is no answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "title": "Unsupported Media Type",
                "status": 415,
                "detail": "not the bytes of a JPEG, PNG or WebP photograph",
            }
        }
    )

    title: str
    status: int
    detail: str


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's entries for what may go wrong."""
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


async def _http(_: Request, error: HTTPException) -> Response:
    return _problem(error.status_code, error.detail, error.headers)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    reasons = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
    return _problem(422, "; ".join(reasons))


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it, but it is counted


async def _failed(_: Request, __: Exception) -> Response:
    return _problem(500, "the service failed; its log says why")


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    HTTPException: _http,
    RequestValidationError: _invalid,
    ClientDisconnect: _left,
    Exception: _failed,
}
"""For every error, what answers it."""
