"""Poses and maps drawn on images."""
