"""Evaluation of predictions: metrics, precision and recall, kinds of errors, and a report page."""
