"""Prediction on a Ray cluster, from images on any filesystem into Parquet tables."""
