"""What muxpy can do on this machine, beside what else could carry the same bytes: `python -m benchmarks`."""
