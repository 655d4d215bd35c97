"""Formats of image files: bytes → RGB arrays."""
