"""Benchmarks: one runner, rows that time dbml beside the floor and the best peers; see README.md for the traps."""
