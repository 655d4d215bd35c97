"""annotation → targets."""
