"""Benchmarks: the parser alone (``test_parser.py``) and a request's whole way (``whole_way.py``). See README.md."""
