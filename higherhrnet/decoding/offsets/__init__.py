"""Decoding by offsets: heatmaps and offsets → people (DEKR)."""
