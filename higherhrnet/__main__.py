"""`python -m higherhrnet` runs the command line, as `higherhrnet` does."""

import os
import sys


def run() -> None:
    """Runs the command line; Ctrl-C ends it without a traceback while modules are imported, too."""
    # NumPy's matrix products are small here; the threads of OpenBLAS would wait actively for each
    # other, 50 ms of processor time during the import of NumPy alone.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from higherhrnet.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
