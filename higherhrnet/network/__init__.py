"""image → heatmaps + tags (torch)."""
