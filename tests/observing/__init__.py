"""Tests of the metrics and the log of running gateways."""
