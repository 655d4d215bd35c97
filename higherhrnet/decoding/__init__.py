"""Maps → people: peaks, grouping by tag, adjustment, refinement, selection."""
