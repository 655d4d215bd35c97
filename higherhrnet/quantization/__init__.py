"""Quantization of ONNX models to 8-bit integers, and measurement of its effects."""
