"""The verbs of the command line, one thin function each.

Exit codes: 0 all was done; 1 nothing could be done, for the reason given; 2 flags not understood;
3 done, but some files were skipped; 130 interrupted, with whole output of what was done.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import tyro

from higherhrnet.cli.finding import bench, evaluate, predict
from higherhrnet.cli.learning import check_data, scenes, train
from higherhrnet.cli.models import convert, download, export, info, models
from higherhrnet.cli.serving import serve
from higherhrnet.errors import InputError

VERBS = {
    verb.__name__.replace("_", "-"): verb
    for verb in (
        predict,
        train,
        evaluate,
        bench,
        serve,
        check_data,
        info,
        convert,
        export,
        models,
        download,
        scenes,
    )
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            VERBS,
            prog="higherhrnet",
            description="Every person's keypoints in one pass: heatmaps say where, tags say whose.",
            args=arguments,
        )
    except InputError as error:
        print(f"higherhrnet: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has seen enough
        sys.exit(0)
    except OSError as error:
        print(f"higherhrnet: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(code)
