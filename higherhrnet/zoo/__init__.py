"""Weights that others published: where they are, and fetching them."""
