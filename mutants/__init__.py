"""Mutation tests: small wrong changes to the code. Some test must catch each.

`changes` makes them of Python, cargo-mutants of Rust; `python` and `rust` draw a sample by seed and try it on a copy.
``equivalent.toml`` names the changes that no test can see, with the reason.
"""
