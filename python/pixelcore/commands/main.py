"""The command ``pixelcore``: its subcommands, each in the module of its name."""

from __future__ import annotations

import json

import click

from .. import __version__
from .check import check
from .forward import forward
from .replay import replay
from .serve import serve
from .tail import tail
from .url import url


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="pixelcore")
def main() -> None:
    """A tracking-pixel ingestion gateway: each GET for a GIF becomes one JSON event."""


@main.command()
@click.argument("model", metavar="[event|rejection]", type=click.Choice(["event", "rejection"]), default="event")
def schema(model: str) -> None:
    """Print the JSON Schema of an event, or of a rejected request's record."""
    from ..model import Event, Rejection
    from ..model import schema as schema_of

    click.echo(json.dumps(schema_of(Rejection if model == "rejection" else Event), indent=2, ensure_ascii=False))


for command in (check, forward, replay, serve, tail, url):
    main.add_command(command)
