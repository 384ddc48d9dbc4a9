"""Tests of the journal alone, and of its damage by full disks and power cuts."""
