"""Benchmarks: latency, throughput and memory of inference, and of other parts of the package."""
