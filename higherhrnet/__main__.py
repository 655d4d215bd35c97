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
    """Limits the threads of OpenBLAS and the memory of glibc, unless variables specify them."""
    # NumPy's matrix products are small here. The threads of OpenBLAS would wait actively for each
    # other, 50 ms of processor time during the import of NumPy alone.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Each thread would have a pool of memory of its own, an arena, whose free parts the others
    # cannot use: 40 to 50 MB in `predict` with two cores.
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError):  # of another C library, such as musl
            CDLL(None).mallopt(_M_ARENA_MAX, 1)


if __name__ == "__main__":
    run()
