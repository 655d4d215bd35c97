"""serve: serves a model over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from higherhrnet.cli.options import InferenceOptions
from higherhrnet.config.flags import flag
from higherhrnet.errors import reading, require, require_packages
from higherhrnet.serving.limits import ServingLimits


@dataclass(frozen=True)
class ServiceOptions(InferenceOptions):
    """The model, the engine and the inference settings of the service."""

    streams: Annotated[int | None, flag("1", "INT")] = None
    """Number of concurrent inference requests on the CPU, which share the threads. More streams
    increase the throughput of small networks and the latency of a single request."""


def serve(
    options: Annotated[ServiceOptions, arg(name="")] = ServiceOptions(),
    host: Annotated[str, arg(metavar="HOST")] = "127.0.0.1",
    port: int = 8000,
    token_file: Annotated[Path | None, flag("no token is required", "PATH")] = None,
    root_path: Annotated[str, flag("none", "PATH")] = "",
    limits: Annotated[ServingLimits, arg(name="")] = ServingLimits(),
) -> int:
    """Serve a model over HTTP, with a web page to try it.

    POST a JPEG, PNG or WebP image, also as a form or as base64 in JSON, to /poses for the people as
    JSON, or to /image for the image with the poses drawn on it; /openapi.json describes the whole
    API. The service stops at Ctrl-C or SIGTERM, after it has answered the requests that it has
    accepted.

    Args:
        options: The model and the inference settings.
        host: The address to listen on; 0.0.0.0 accepts connections from other machines.
        port: The port to listen on; 0 selects a free port.
        token_file: A file with one line, the bearer token that clients must send.
        root_path: The prefix under which a reverse proxy publishes the service, such as /pose. The
            proxy removes it from the paths of requests; the API description then contains it.
        limits: Limits of the service.
    """
    require(
        not root_path or (root_path.startswith("/") and not root_path.endswith("/")),
        f"--root-path must begin with / and not end with /, such as /pose, not {root_path}",
    )
    require_packages(
        "serve", "serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client"
    )
    from higherhrnet.serving.server import run_server

    token = _read_token(token_file) if token_file else None
    run_server(options.load(streams=1), host, port, limits, token, root_path)
    return 0


def _read_token(path: Path) -> str:
    with reading(f"--token-file {path}"):
        token = path.read_bytes().strip().decode("ascii", "replace")  # fails the check below
    require(
        token != "" and token.isascii() and token.isprintable(),
        f"--token-file {path}: the file must contain one line of printable ASCII characters",
    )
    return token
