"""heatmaps + tags → people (NumPy, OpenCV, SciPy: no torch)."""
