"""How fast muxpy is on this machine, beside others that could carry the same bytes: `python -m benchmarks`."""
