"""``python -m pixelcore``: the same as the command ``pixelcore``."""

from .commands.main import main

main(prog_name="pixelcore")
