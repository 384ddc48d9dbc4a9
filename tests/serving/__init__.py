"""Tests of requests over real sockets, and of the workers that answer them."""
