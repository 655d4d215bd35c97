"""Training data: COCO annotations → augmented samples → batches."""
