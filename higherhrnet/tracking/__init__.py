"""People of one frame after the other → the same people, each with a number that stays."""
