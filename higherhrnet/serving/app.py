"""The ASGI application: the endpoints of the HTTP API and the files of the web page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from secrets import compare_digest
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect

from higherhrnet import __version__
from higherhrnet.inference.predictor import Predictor
from higherhrnet.serving.inference_service import InferenceResult, InferenceService
from higherhrnet.serving.limits import ServingLimits
from higherhrnet.serving.metrics import MetricsMiddleware, ServiceMetrics
from higherhrnet.serving.problems import HANDLERS, openapi_errors
from higherhrnet.serving.responses import encode_drawn_image, encode_poses, image_entry
from higherhrnet.serving.schemas import (
    ImageQuery,
    PosesQuery,
    PosesResponse,
    QueryParameters,
    ServerInfo,
)
from higherhrnet.serving.uploads import BINARY, openapi_body, receive_images

T = TypeVar("T")
PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/poses.js": ("poses.js", "text/javascript"),
}
IGNORED_FIELDS = "X-Ignored-Fields"
"""The header with the percent-encoded names of fields of the request that are not images."""
MAX_HEADER = 1000
"""Maximum length of its value."""
RESPONSE_HEADERS = {
    IGNORED_FIELDS: {
        "description": "The names of the request's fields that are not images, percent-encoded.",
        "schema": {"type": "string"},
    }
}
IMAGE_ERRORS = openapi_errors(400, 401, 408, 413, 415, 422, 500, 503)
IMAGE_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/jpeg": {"schema": BINARY}, "image/png": {"schema": BINARY}},
        "headers": RESPONSE_HEADERS,
    }
}

protected = APIRouter()
"""The endpoints that require the token."""
public = APIRouter()


def create_app(
    predictor: Predictor, limits: ServingLimits, token: str | None = None
) -> MetricsMiddleware:
    """Creates the service as an ASGI application.

    Args:
        predictor: the model and the default inference settings.
        limits: limits of the service.
        token: the bearer token that clients must send, or None to serve all clients.
    """
    metrics = ServiceMetrics()
    service = InferenceService(predictor, limits, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.run():
            yield

    app = FastAPI(
        title="higherhrnet",
        version=__version__,
        description="Finds the people in images and returns the keypoints of each person.",
        lifespan=lifespan,
        docs_url=None,  # these pages would load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy, the redirect would lack the prefix of its paths
        exception_handlers=HANDLERS,
        generate_unique_id_function=lambda route: route.name,  # names of generated functions
    )
    app.state.service, app.state.token = service, token
    app.include_router(protected, dependencies=[Depends(authorize)] if token else [])
    app.include_router(public)
    for path, (name, media_type) in PAGE_FILES.items():
        content = files(__package__).joinpath("page", name).read_bytes()
        send_file = partial(_page_file, content, media_type)
        app.add_api_route(path, send_file, methods=["GET", "HEAD"], include_in_schema=False)
    return MetricsMiddleware(app, metrics)


async def authorize(
    request: Request,
    credentials: Annotated[
        HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))
    ],
) -> None:
    """Rejects requests without the token.

    Raises:
        HTTPException: the token is missing or invalid (401).
    """
    token: str = request.app.state.token
    if credentials is None or not compare_digest(credentials.credentials.encode(), token.encode()):
        raise HTTPException(
            401,
            "the bearer token is missing or invalid; send it in the header Authorization",
            {"www-authenticate": "Bearer"},
        )


@protected.post(
    "/poses",
    response_class=Response,
    responses=IMAGE_ERRORS | {200: {"model": PosesResponse, "headers": RESPONSE_HEADERS}},
    openapi_extra=openapi_body(),
)
async def poses(request: Request, query: Annotated[PosesQuery, Query()]) -> Response:
    """Finds the people in one image, or in each of several."""
    service: InferenceService = request.app.state.service
    convert = partial(image_entry, maps=query.maps)
    entries, headers = await _predict(request, query, convert, service.limits.max_queue)
    content = encode_poses(entries, service.predictor.header.skeleton)
    return Response(content, headers=headers, media_type="application/json")


@protected.post(
    "/image",
    response_class=Response,
    responses=IMAGE_ERRORS | IMAGE_RESPONSE,
    openapi_extra=openapi_body(maxItems=1),
)
async def image(request: Request, query: Annotated[ImageQuery, Query()]) -> Response:
    """Draws the poses of the people on one image."""
    convert = partial(encode_drawn_image, format=query.format)
    (drawn,), headers = await _predict(request, query, convert, max_images=1)
    return Response(drawn, headers=headers, media_type=f"image/{query.format}")


@protected.get("/metrics", response_class=PlainTextResponse, responses=openapi_errors(401))
async def metrics(request: Request) -> Response:
    """Returns the metrics of the service in the format of Prometheus."""
    service: InferenceService = request.app.state.service
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@public.head("/info", include_in_schema=False)
@public.get("/info")
async def info(request: Request) -> ServerInfo:
    """Returns the model, the engine and the limits of the service."""
    service: InferenceService = request.app.state.service
    skeleton = service.predictor.header.skeleton
    return ServerInfo(
        version=__version__,
        engine=service.predictor.engine.description,
        skeleton=skeleton.name,
        keypoints=list(skeleton.names),
        maps=list(service.predictor.decoder.map_names),
        flip=service.predictor.config.flip,
        token_required=bool(request.app.state.token),
        max_megabytes=service.limits.max_megabytes,
        max_megapixels=service.limits.max_megapixels,
    )


@public.head("/health", include_in_schema=False)
@public.get("/health")
async def health() -> dict[str, str]:
    """Returns status 200 while the service runs."""
    return {"status": "ok"}


@public.head("/ready", include_in_schema=False)
@public.get("/ready", responses=openapi_errors(503))
async def ready(request: Request) -> dict[str, str]:
    """Returns status 200 while the queue has room for another image, else 503."""
    request.app.state.service.require_capacity()
    return {"status": "ok"}


async def _page_file(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type)


async def _predict(
    request: Request,
    query: QueryParameters,
    convert: Callable[[InferenceResult], T],
    max_images: int,
) -> tuple[list[T], dict[str, str]]:
    """Receives the images of a request.

    Returns:
        The converted result of each image, and the headers of the response.
    """
    service: InferenceService = request.app.state.service
    service.require_capacity()
    settings = type(query).model_fields
    upload = await receive_images(request, service.limits, max_images, settings)
    with service.queue_slots(len(upload.images)):
        predictor = service.predictor_with(query.flip, query.min_score)
        work = service.predict(predictor, upload.images, convert)
        results = await _run_until_disconnect(request, service, work)
    names = ", ".join(quote(name) or '""' for name in upload.ignored_fields)
    names = names[:MAX_HEADER].rstrip(", ")  # a header must not end with a space
    return results, {IGNORED_FIELDS: names} if names else {}


async def _run_until_disconnect(
    request: Request, service: InferenceService, work: Coroutine[Any, Any, T]
) -> T:
    """Returns the result of the work, which is canceled at a disconnect or timeout."""

    async def disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    result, disconnected = asyncio.create_task(work), asyncio.create_task(disconnect())
    timeout = service.limits.timeout
    try:
        await asyncio.wait(
            {result, disconnected}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if result.done():
            return result.result()
        if disconnected.done():
            raise ClientDisconnect
        raise service.overloaded(f"the service is overloaded: no result within {timeout:g} seconds")
    finally:
        result.cancel()
        disconnected.cancel()
