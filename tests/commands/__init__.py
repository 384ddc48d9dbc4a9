"""Tests of the subcommands and their settings, run like an operator runs them."""
