"""Settings of models, of inference and of training, and the header that stores a model's."""
