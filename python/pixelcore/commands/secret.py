"""The command ``pixelcore secret``."""

from __future__ import annotations

import secrets

import click


@click.command()
def secret() -> None:
    """Print a new secret, for URLs or for the consent list."""
    click.echo(secrets.token_urlsafe(32))
