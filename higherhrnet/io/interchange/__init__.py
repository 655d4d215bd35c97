"""Files of predictions that other programs read; one module for each format."""
