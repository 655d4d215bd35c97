"""The entry point of the command line.

Exit codes: 0 success; 1 failure, for the reason that is printed; 2 invalid flags; 3 success, but
some files were skipped; 130 interrupted, with the output that was complete by then.
"""

from __future__ import annotations

import errno
import inspect
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from types import NoneType
from typing import Any, get_args, get_origin

import tyro

from higherhrnet import __version__
from higherhrnet.errors import InputError
from higherhrnet.io.notices import notices_counted

COMMANDS = (
    "predict",
    "predict-ray",
    "train",
    "train-rescore",
    "evaluate",
    "bench",
    "serve",
    "check-data",
    "info",
    "convert",
    "export",
    "models",
    "download",
    "scenes",
)
"""The names of the commands, in the order of the help text. Each has a module in `cli`."""


def _join_lines(text: str) -> str:
    """Joins the lines of each paragraph of a help text."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


# tyro breaks a help text where a line of the docstring starts with anything but a letter, and the
# help text of a function's argument at every line; continuation lines of the latter have 8 spaces.
with suppress(AttributeError):  # a later tyro without this module formats help texts itself
    tyro._strings.remove_single_line_breaks = _join_lines  # type: ignore[assignment]

_is_instance: Callable[[Any, Any], bool] | None = getattr(
    getattr(tyro, "_resolver", None), "is_instance", None
)


def is_default_valid(annotation: Any, default: Any) -> bool:  # noqa: ANN401
    """Returns whether the default of a flag is of the type of its annotation.

    tyro imports typeguard for it if the annotation is a tuple, a function or like `int | None`,
    which takes 40 ms, a tenth of the time that `predict` needed to start. The usual defaults of
    such flags (None, an empty tuple, and none at all) are therefore checked here.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if default is None:
        is_valid = NoneType in arguments
    elif default == ():
        is_valid = origin is tuple and Ellipsis in arguments
    else:
        is_valid = default is tyro.MISSING_NONPROP and (
            origin is tuple or inspect.isfunction(annotation)
        )
    return is_valid or _is_instance is None or _is_instance(annotation, default)


if _is_instance:  # a later tyro without this function checks all defaults itself
    tyro._resolver.is_instance = is_default_valid  # type: ignore[assignment]


def _load_command(name: str) -> Callable[..., int]:
    """Imports the function of a command, whose name is that of its module."""
    name = name.replace("-", "_")
    command: Callable[..., int] = getattr(import_module(f"higherhrnet.cli.{name}"), name)
    command.__doc__ = re.sub(r"\n {8,}", " ", inspect.cleandoc(command.__doc__ or ""))
    return command


_CLOSED_PIPE = errno.EINVAL if sys.platform == "win32" else errno.EPIPE
"""The number of the error if the reader of the output has closed the pipe."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code.

    Args:
        arguments: the command line without the program's name (default: that of the process).
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _replace_closed_streams()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # errors are reported in one line
    signal.signal(signal.SIGTERM, _interrupt)
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(errors="replace")  # type: ignore[union-attr]
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.encoding.lower() != "utf-8":
        sys.stdin.reconfigure(encoding="utf-8")  # on Windows, the default is a code page
    # The other commands would only be imported for the list of commands.
    names = arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS
    try:
        if arguments in (["--version"], ["-V"]):
            print(f"higherhrnet {__version__}", flush=True)
            sys.exit(0)
        with notices_counted():
            code = tyro.extras.subcommand_cli_from_dict(
                {name: _load_command(name) for name in names},
                prog="higherhrnet",
                description="Multi-person 2D pose estimation with HigherHRNet. "
                "`higherhrnet --version` prints the version.",
                args=arguments,
            )
    except InputError as error:
        print(f"higherhrnet: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno == _CLOSED_PIPE:
            # At exit, Python would flush standard output and fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        if error.errno != errno.ENOSPC:
            raise
        print("higherhrnet: the output cannot be written: the disk is full", file=sys.stderr)
        sys.exit(1)
    sys.exit(code)


def _replace_closed_streams() -> None:
    """Connects standard streams that are closed to the null device.

    Otherwise their file descriptors would be given to the next files that are opened.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _interrupt(*_: object) -> None:
    """Handles SIGTERM as Ctrl-C."""
    raise KeyboardInterrupt
