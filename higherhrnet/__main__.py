"""`python -m higherhrnet` is `higherhrnet`."""

from higherhrnet.cli.main import main

if __name__ == "__main__":
    main()
