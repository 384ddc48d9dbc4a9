"""Helpers for tests: real servers, clients, oracles. There are no tests here."""
