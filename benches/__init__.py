"""Benchmarks, each with its goals: ``python -m benches`` (``parts.py``) runs all of them. See README.md."""
