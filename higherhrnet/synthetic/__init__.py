"""Synthetic people, scenes and network outputs, for tests and for training without data."""
