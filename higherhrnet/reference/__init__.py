"""The decoding of the reference implementation, a test oracle and the baseline of benchmarks."""
