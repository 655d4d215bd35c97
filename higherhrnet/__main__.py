"""`python -m higherhrnet` runs the command line, as `higherhrnet` does."""

import os
import sys
from contextlib import suppress
from ctypes import CDLL

_M_ARENA_MAX = -8
"""The parameter of glibc's `mallopt` for the number of arenas."""


def run() -> None:
    """Runs the command line; Ctrl-C ends it without a traceback while modules are imported, too."""
    _configure_libraries()
    try:
        from higherhrnet.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


def _configure_libraries() -> None:
    """Sets what libraries do when they are loaded, before any of them is.

    Only for the command line, because a library must not change this for the programs that use it.
    """
    # NumPy's matrix products are small here. The threads of OpenBLAS would wait actively for each
    # other, 50 ms of processor time during the import of NumPy alone.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The package openvino imports its converter of models where that exists, which would take 0.1 s
    # and 17 MB; None makes the import fail.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    # Each thread would have a pool of memory of its own, an arena, whose free parts the others
    # cannot use: 40 to 50 MB in `predict` with two cores.
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError):  # of another C library, such as musl
            CDLL(None).mallopt(_M_ARENA_MAX, 1)


if __name__ == "__main__":
    run()
