"""Where `evaluate` was before: see evaluation/figures.py."""

from higherhrnet.evaluation.figures import FIGURES, evaluate, format_figures

__all__ = ["FIGURES", "evaluate", "format_figures"]
