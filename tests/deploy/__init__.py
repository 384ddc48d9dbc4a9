"""Tests of deploy/, of packages, and of gateways behind a proxy."""
