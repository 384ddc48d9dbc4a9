"""``python -m pixelcore``."""

from .cli import main

main(prog_name="pixelcore")
