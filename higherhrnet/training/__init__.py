"""Targets → losses → optimiser: a network that learns."""
