"""Tests of the live page: its process, and the page in a real browser."""
