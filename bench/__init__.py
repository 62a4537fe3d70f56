"""The benchmarks: `make bench` measures speed and memory, and prints tables. No test asserts what they measure."""
