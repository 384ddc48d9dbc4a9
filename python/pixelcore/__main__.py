"""``python -m pixelcore``."""

from .commands.main import main

main(prog_name="pixelcore")
