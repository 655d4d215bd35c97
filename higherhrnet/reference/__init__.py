"""The decoding of the reference implementation, as a test oracle and as a baseline for benchmarks (torch)."""
