"""`python -m higherhrnet` runs the command line, as `higherhrnet` does."""

from higherhrnet.cli.main import main

if __name__ == "__main__":
    main()
