"""Finds and downloads models: the bundled one and published ones."""
