"""Skeletons, and poses of people on them."""
