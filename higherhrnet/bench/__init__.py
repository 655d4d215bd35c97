"""How fast: each engine against the original's way, measured in turn."""
