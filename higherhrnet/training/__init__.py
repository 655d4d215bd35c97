"""Training: annotated images → targets → losses → optimizer steps (torch)."""
