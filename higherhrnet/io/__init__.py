"""Files: images, videos, annotations, predictions, written completely or not at all."""
