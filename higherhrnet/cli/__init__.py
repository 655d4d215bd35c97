"""The command line: one module a verb, `options.py` for the flags that verbs share."""
