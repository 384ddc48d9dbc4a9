"""The command ``pixelcore`` with its subcommands, each in the module of its name."""

from __future__ import annotations

import json

import click

from .. import __version__
from ..errors import PixelcoreError
from .check import check
from .consent import consent
from .flags import load
from .forward import forward
from .health import health
from .replay import replay
from .secret import secret
from .serve import serve
from .tail import tail
from .url import url


class Commands(click.Group):
    """The group of subcommands. An error is one line on stderr, and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `| head` is an ordinary end, which click handles
            raise
        except UnicodeEncodeError as error:
            raise click.ClickException(f"{error.object[error.start]!a} cannot be written in {error.encoding}") from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from None
        except PixelcoreError as error:
            raise click.ClickException(" ".join(str(error).split())) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="pixelcore")
def main() -> None:
    """A tracking-pixel ingestion gateway: each GET of a GIF becomes one JSON event."""


@main.command(short_help="Print the schema of events, of rejections, or of the topics.")
@click.argument(
    "model",
    metavar="[event|rejection|asyncapi]",
    type=click.Choice(["event", "rejection", "asyncapi"]),
    default="event",
)
def schema(model: str) -> None:
    """Print the JSON Schema of an event or of a rejected request, or the AsyncAPI document of the topics."""
    from .. import asyncapi
    from ..model import Event, Rejection
    from ..model import schema as schema_of

    if model == "asyncapi":
        found = asyncapi.document(load({}))
    else:
        found = schema_of(Rejection if model == "rejection" else Event)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


for command in (check, consent, forward, health, replay, secret, serve, tail, url):
    main.add_command(command)
