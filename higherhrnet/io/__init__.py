"""Reads images, videos and annotations, and writes predictions, images and videos."""
