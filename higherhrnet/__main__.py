"""`python -m higherhrnet` runs the command line, as `higherhrnet` does."""

import sys


def run() -> None:
    """Runs the command line; Ctrl-C ends it without a traceback while modules are imported, too."""
    try:
        from higherhrnet.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
