"""Photographs on any filesystem → people in Parquet files, on one machine or many."""
