"""serve: an HTTP service and a web page."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from higherhrnet.cli.options import InferenceOptions
from higherhrnet.errors import InputError, require
from higherhrnet.flags import flag
from higherhrnet.serving.limits import ServingLimits

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
"""The packages of the extra `serve`, by the names under which they are imported."""


def serve(
    options: Annotated[InferenceOptions, arg(name="")] = InferenceOptions(),
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Annotated[Path | None, flag("no token is required", "PATH")] = None,
    limits: Annotated[ServingLimits, arg(name="")] = ServingLimits(),
) -> int:
    """Serve a model over HTTP, with a web page to try it.

    POST a JPEG, PNG or WebP image to /poses for the people as JSON, or to /image for the image with
    the poses drawn on it; /openapi.json describes the whole API. The service stops at Ctrl-C or
    SIGTERM, after it has answered the requests that it has accepted.

    Args:
        options: The model and the inference settings.
        host: The address to listen on; 0.0.0.0 accepts connections from other machines.
        port: The port to listen on; 0 selects a free port.
        token_file: A file with one line that clients must send as a bearer token.
        limits: Limits of the service.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise InputError(f'serve needs {" and ".join(missing)}: pip install "higherhrnet[serve]"')
    from higherhrnet.serving.server import run_server

    token = _read_token(token_file) if token_file else None
    run_server(options.load(streams=1), host, port, limits, token)
    return 0


def _read_token(path: Path) -> str:
    try:
        token = path.read_bytes().strip().decode("ascii", "replace")  # other bytes fail below
    except OSError as error:
        raise InputError(f"--token-file {path}: cannot be read: {error.strerror}") from error
    require(
        token != "" and token.isascii() and token.isprintable(),
        f"--token-file {path}: must hold one line of printable ASCII characters, the token",
    )
    return token
