"""The service's addresses: POST a photograph, get its people; and what keeps a service running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from secrets import compare_digest
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from higherhrnet import __version__
from higherhrnet.inference.predictor import Predictor
from higherhrnet.serving import responses as answers
from higherhrnet.serving import uploads
from higherhrnet.serving.inference_service import InferenceResult, InferenceService
from higherhrnet.serving.limits import ServingLimits
from higherhrnet.serving.metrics import MetricsMiddleware, ServiceMetrics
from higherhrnet.serving.problems import HANDLERS, described

T = TypeVar("T")
BEARER = HTTPBearer(auto_error=False)
PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/people.js": ("people.js", "text/javascript"),
}
_FILE = {"type": "string", "format": "binary"}


def _body(**bounds: int) -> dict[str, Any]:
    """OpenAPI's entry for a photograph as it is, or some as the files of a form."""
    files = {"type": "array", "items": _FILE, "minItems": 1, **bounds}
    form = {
        "type": "object",
        "description": "Every part is taken for a photograph, whatever its name; `photograph` "
        "will do for all of them.",
        "properties": {"photograph": files},
        "required": ["photograph"],
        "additionalProperties": False,  # else texts would be expected to be taken
    }
    content: dict[str, Any] = {kind: {"schema": _FILE} for kind in uploads.KINDS}
    kinds = {"photograph": {"contentType": ", ".join(uploads.KINDS)}}
    content[uploads.FORM] = {"schema": form, "encoding": kinds}
    return {"requestBody": {"required": True, "content": content}}


MAY_FAIL = described(400, 401, 408, 413, 415, 422, 500, 503)


class QueryParameters(BaseModel):
    """How to look at the photographs of a request."""

    model_config = ConfigDict(extra="forbid")

    flip: bool | None = Field(
        None, description="Look at the mirrored photograph too; the service's own setting if not."
    )
    min_score: float | None = Field(
        None, ge=0, le=1, description="Leave out people below this; the service's own if not said."
    )


class PosesQuery(QueryParameters):
    """The same, and what to answer."""

    maps: bool = Field(False, description="Show the heatmaps and tags, too.")


class ImageQuery(QueryParameters):
    """The same, and what to answer."""

    format: answers.Format = Field("jpeg", description="Of the picture.")


class ServerInfo(BaseModel):
    """What this service is."""

    version: str
    engine: str = Field(description="What runs the network.")
    skeleton: str
    keypoints: list[str]
    flip: bool = Field(description="Whether the mirrored photograph is looked at if not said.")
    token: bool = Field(description="Whether a bearer token is asked for.")
    max_megabytes: float
    max_megapixels: float


async def authorised(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> None:
    """Lets only those pass who know the token."""
    token: str = request.app.state.token
    if given is None or not compare_digest(given.credentials.encode(), token.encode()):
        raise HTTPException(
            401, "say the token: Authorization: Bearer …", {"www-authenticate": "Bearer"}
        )


guarded = APIRouter()
open_to_all = APIRouter()


@guarded.post(
    "/poses",
    response_class=Response,
    responses=MAY_FAIL | {200: {"model": answers.Answer}},
    openapi_extra=_body(),
)
async def poses(request: Request, wishes: Annotated[PosesQuery, Query()]) -> Response:
    """The people in a photograph, or in each of several."""
    finder: InferenceService = request.app.state.finder
    finish = partial(answers.entry, maps=wishes.maps)
    entries = await _find(request, wishes, finish, finder.limits.queue)
    skeleton = finder.predictor.header.skeleton
    return Response(answers.coco(entries, skeleton), media_type="application/json")


@guarded.post(
    "/picture",
    response_class=Response,
    responses=MAY_FAIL
    | {200: {"content": {f"image/{kind}": {"schema": _FILE} for kind in ("jpeg", "png")}}},
    openapi_extra=_body(maxItems=1),
)
async def picture(request: Request, wishes: Annotated[ImageQuery, Query()]) -> Response:
    """One photograph with its people drawn."""
    (drawn,) = await _find(request, wishes, partial(answers.picture, format=wishes.format), most=1)
    return Response(drawn, media_type=f"image/{wishes.format}")


@guarded.get("/metrics", response_class=PlainTextResponse, responses=described(401))
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    registry = request.app.state.finder.figures.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@open_to_all.get("/about")
async def about(request: Request) -> ServerInfo:
    """What this service is."""
    finder: InferenceService = request.app.state.finder
    header = finder.predictor.header
    return ServerInfo(
        version=__version__,
        engine=finder.predictor.engine.description,
        skeleton=header.skeleton.name,
        keypoints=list(header.skeleton.names),
        flip=finder.predictor.config.flip,
        token=bool(request.app.state.token),
        max_megabytes=finder.limits.max_megabytes,
        max_megapixels=finder.limits.max_megapixels,
    )


@open_to_all.get("/health")
async def health() -> dict[str, str]:
    """Answers as long as the service runs."""
    return {"status": "ok"}


@open_to_all.get("/ready", responses=described(503))
async def ready(request: Request) -> dict[str, str]:
    """Whether there is room for another photograph."""
    request.app.state.finder.check_room()
    return {"status": "ok"}


def create_app(
    predictor: Predictor, limits: ServingLimits, token: str | None = None
) -> MetricsMiddleware:
    """The service as an ASGI application."""
    figures = ServiceMetrics()
    finder = InferenceService(predictor, limits, figures)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with finder.working():
            yield

    app = FastAPI(
        title="higherhrnet",
        version=__version__,
        description="POST a photograph, get every person's keypoints.",
        lifespan=lifespan,
        docs_url=None,  # its scripts come from elsewhere
        redoc_url=None,
        exception_handlers=HANDLERS,
    )
    app.state.finder, app.state.token = finder, token
    app.include_router(guarded, dependencies=[Depends(authorised)] if token else [])
    app.include_router(open_to_all)
    for path, (name, kind) in PAGE.items():
        content = files(__package__).joinpath("page", name).read_bytes()
        app.add_api_route(path, partial(_page, content, kind), include_in_schema=False)
    return MetricsMiddleware(app, figures)


async def _page(content: bytes, kind: str) -> Response:
    return Response(content, media_type=kind)


async def _find(
    request: Request, wishes: QueryParameters, finish: Callable[[InferenceResult], T], most: int
) -> list[T]:
    finder: InferenceService = request.app.state.finder
    finder.check_room()
    body = await uploads.receive(request, finder.limits)
    kind = request.headers.get("content-type", "")
    data = await asyncio.to_thread(uploads.photographs, kind, body, most)  # not behind decoding
    with finder.room(len(data)):
        predictor = finder.predictor_with(wishes.flip, wishes.min_score)
        return await _while_wanted(request, finder, finder.find(predictor, data, finish))


async def _while_wanted(
    request: Request, finder: InferenceService, work: Coroutine[Any, Any, T]
) -> T:
    """What work gives; it is cancelled when the client leaves or time is up."""

    async def leaving() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, gone = asyncio.create_task(work), asyncio.create_task(leaving())
    try:
        await asyncio.wait(
            {working, gone}, timeout=finder.limits.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if working.done():
            return working.result()
        if gone.done():
            raise ClientDisconnect
        raise finder.busy(f"not done within {finder.limits.timeout:g} seconds")
    finally:
        working.cancel()
        gone.cancel()
