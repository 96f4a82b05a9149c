"""Parts of the benchmark benchmarks/real_sky.py."""
