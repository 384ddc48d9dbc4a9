"""The command ``pixelcore health``, for the health checks of containers."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request

import click

from .. import datadir
from .flags import SettingsCommand, load, setting_flags

SECONDS = 3.0


@click.command(cls=SettingsCommand, short_help="Ask the gateway of a data directory whether it is healthy.")
@setting_flags("data_dir")
def health(**flags: str | None) -> None:
    """Request /healthz of the gateway of a data directory, wherever it listens. Exits 0 if it is healthy, or if no gateway serves."""
    url = datadir.served_at(load(flags).data_dir)
    if url is None:
        # For instance `pixelcore forward` in a container: its process is the only thing to check.
        click.echo("no gateway serves with this data directory")
        return
    # This is the machine itself, so the environment's proxy is ignored and the certificate is not verified.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(f"{url}/healthz", timeout=SECONDS) as answer:
            click.echo(answer.read().decode().strip())
    except urllib.error.HTTPError as error:
        raise click.ClickException(f"{url}/healthz: {error.code}: {error.read().decode().strip()}") from None
    except OSError as error:
        raise click.ClickException(f"{url}/healthz: {getattr(error, 'reason', error)}") from None
