"""The network: images → heatmaps and tags (torch)."""
