"""Tests of deploy/ with the real programs: ``make deploy-test``."""
