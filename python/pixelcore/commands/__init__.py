"""The command ``pixelcore``: one module for each subcommand, and what they share in `flags`."""
