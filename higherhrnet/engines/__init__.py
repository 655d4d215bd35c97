"""Engines that run a network: normalized images → maps, with ONNX Runtime, OpenVINO or PyTorch."""
