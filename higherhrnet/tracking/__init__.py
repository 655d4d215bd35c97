"""Poses of successive frames → track IDs and smoothed keypoints."""
