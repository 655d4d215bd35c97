"""The network as an ONNX graph, which is built without torch."""
