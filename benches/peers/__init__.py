"""Servers that pixelcore is measured against."""
