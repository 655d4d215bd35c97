"""Decoding as an ONNX graph: from an image to people, around the graph of a network."""
