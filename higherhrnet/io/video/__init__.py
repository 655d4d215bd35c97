"""Video files: videos → frames, drawn frames → videos."""
