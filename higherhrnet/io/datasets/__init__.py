"""Annotation files, results, and the images of datasets."""
