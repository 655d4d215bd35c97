"""Draws poses, heatmaps and tags on images."""
