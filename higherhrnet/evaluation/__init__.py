"""How good the people found are: figures, curves, kinds of mistakes, a page to look at."""
