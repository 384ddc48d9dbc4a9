"""Tests of the consent list: on the disk, on its topic, in a gateway, and when journals are shipped."""
