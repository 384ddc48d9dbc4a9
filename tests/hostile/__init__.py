"""Attacks of hostile senders and mistakes of operators: files, headers, connections, terminals. `tests/attack.py` prints a table."""
