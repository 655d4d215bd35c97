"""serve: photographs in, people out, over HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from higherhrnet.cli.look import InferenceOptions
from higherhrnet.errors import InputError, require
from higherhrnet.serving.limits import ServingLimits

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve(
    look: Annotated[InferenceOptions, arg(name="")] = InferenceOptions(),
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    limits: Annotated[ServingLimits, arg(name="")] = ServingLimits(),
) -> int:
    """Serve a model over HTTP: a page to see it at work, and an address for programs.

    POST a JPEG, PNG or WebP to /poses for its people as JSON, to /picture to have them drawn;
    /openapi.json describes all. Stops at Ctrl-C or SIGTERM, when all that was accepted is done.

    Args:
        look: How to look.
        host: The address to listen on; 0.0.0.0 lets other machines in.
        port: The port to listen on; 0 takes a free one.
        token_file: A file whose only line clients must send as a bearer token.
        limits: What to take on.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise InputError(f'serve needs {" and ".join(missing)}: pip install "higherhrnet[serve]"')
    from higherhrnet.serving.server import serve as run

    token = _token(token_file) if token_file else None
    run(look.predictor(streams=1), host, port, limits, token)
    return 0


def _token(file: Path) -> str:
    token = file.read_bytes().strip().decode("ascii", "replace")  # what is not ASCII fails below
    one_line = f"{file} must hold one line of printable ASCII, the token"
    require(token != "" and token.isascii() and token.isprintable(), one_line)
    return token
