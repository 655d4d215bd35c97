"""Evaluation of predictions: metrics, precision and recall, error types, and a report page."""
