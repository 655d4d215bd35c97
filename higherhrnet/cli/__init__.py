"""The command line: one module per command, and `options.py` for what commands share."""
