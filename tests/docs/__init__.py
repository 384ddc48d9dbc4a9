"""Tests of README, the pages, the examples and the project's files."""
