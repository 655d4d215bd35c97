"""Stand-alone benchmarks: python -m higherhrnet.bench.scripts.NAME."""
