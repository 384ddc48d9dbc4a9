"""The command ``pixelcore serve``."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import ssl
import sys
from pathlib import Path
from typing import Any

import click

from .. import __version__, consents, datadir, processes, settings, sidecar, terms
from ..address import HostPort
from ..errors import SettingsError
from ..observing import log, metrics_process
from . import listening
from .flags import SettingsCommand, kafka_flag, setting_flags, to_environment, try_settings

HEADER_SECONDS = 5
"""A connection is closed if a request's headers take longer, or if it is idle for so long."""

MOST_CONNECTIONS = 16_384
"""The most connections of a worker. An idle one costs some kB."""
OWN_FILES = 100
"""Open files that are reserved for a worker itself: journals, brokers, watches."""


@click.command(cls=SettingsCommand, short_help="Serve pixels, and ship their events to Kafka if one is set.")
@click.option(
    "--inspect", is_flag=True, help="Also serve the live page, which shows events as they arrive, on this machine only."
)
@setting_flags()
@kafka_flag
def serve(inspect: bool, kafka: tuple[str, ...], **flags: str | None) -> None:
    """Serve pixels, and ship their events to Kafka if one is set."""
    to_environment(flags, kafka)
    listening.heed_port()
    chosen = settings.load()
    check_certificate(chosen)
    address = listening.resolve(HostPort.parse(chosen.bind))
    # The lock's file means a live gateway, or one that was killed. Workers of a killed server soon leave the port.
    patience = datadir.PATIENCE_SECONDS if os.path.exists(chosen.data_dir / datadir.LOCK) else 0.0  # noqa: PTH110 false without the right to look
    with listening.held(address, patience):
        run(chosen, address, inspect)


def run(chosen: settings.Settings, address: HostPort, inspect: bool) -> None:
    """Serve with valid settings on an address that this process holds. Raises `SettingsError`."""
    try_settings(chosen)
    keys = describe_keys(chosen)
    url = local_url(address, chosen.tls_cert)
    # Importing Granian takes a while, for which --help and a wrong setting should not wait.
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings

    files = raise_file_limit()
    processes.isolate_children()
    server = Granian(
        "pixelcore.app:app",
        address=address.host,
        port=address.port,
        interface=Interfaces.RSGI,
        workers=chosen.workers,
        loop=Loops.auto if sys.platform == "win32" else Loops.uvloop,
        websockets=False,
        # Otherwise a silent connection, or one with half of HTTP/2's preface, stays open for ever.
        http=HTTPModes.http1,
        # Room for the longest target that hyper accepts, 64 kB, and for headers. A longer request gets 431.
        http1_settings=HTTP1Settings(max_buffer_size=131_072, header_read_timeout=HEADER_SECONDS * 1000),
        log_dictconfig=log.config(chosen),
        # Further connections wait in the kernel until others end. This includes probes, because there is one port.
        backpressure=connections(files),
        respawn_failed_workers=True,
        respawn_interval=0.1,
        ssl_cert=chosen.tls_cert,
        ssl_key=chosen.tls_key,
        # The 10 s include `handover.LAST_SECONDS` for connections.
        workers_kill_timeout=int(chosen.handover_seconds + chosen.drain_seconds) + 10,
    )
    page: contextlib.AbstractContextManager[str] = contextlib.nullcontext("")
    if inspect:
        page = sidecar.running("inspect", url, setting="PIXELCORE_INSPECT_ADDRESS")
    with datadir.locked(chosen.data_dir, url), metrics_process.running(chosen), page as live:
        show_banner(chosen, address, keys, live)
        # Granian's own loader searches the working directory first.
        server.serve(target_loader=load_app, wrap_loader=False)


def load_app() -> Any:
    """The application, in a worker."""
    from ..app import app

    return app


def raise_file_limit() -> int:
    """Raise the limit of open files to the maximum, and return it. Each connection is an open file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit that it does not report
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS + OWN_FILES if allowed == resource.RLIM_INFINITY else allowed


def connections(files: int) -> int:
    """The most connections of a worker with so many open files. Without a file left, a worker could not write events."""
    return max(1, min(MOST_CONNECTIONS, files - OWN_FILES))


def this_command() -> str:
    """The command to type for this program, also if its environment is not active."""
    if shutil.which("pixelcore"):
        return "pixelcore"
    return sys.argv[0] if sys.argv[0].endswith("pixelcore") else f"{sys.executable} -m pixelcore"


def describe_keys(chosen: settings.Settings) -> str:
    """A text about the accepted keys. Raises `SettingsError` for a wrong key file, before a server starts."""
    if chosen.keys_file is None:
        return "every well-formed key is accepted: PIXELCORE_KEYS_FILE is not set"
    from ..serving import key_file

    said = key_file.said(chosen.keys_file)
    if terms.look_up(said):
        consents.secrets(chosen)  # raises if it must be set and is not
    keys = f"{key_file.count(chosen.keys_file)} from {chosen.keys_file}, and no others"
    return "\n                 ".join([keys, *terms.lines(said)])


def check_certificate(chosen: settings.Settings) -> None:
    """Check that the certificate and its key exist and belong together. Raises `SettingsError`."""
    if chosen.tls_cert is None and chosen.tls_key is None:
        return
    if chosen.tls_cert is None or chosen.tls_key is None:
        raise SettingsError("PIXELCORE_TLS_CERT, PIXELCORE_TLS_KEY: one is set without the other")
    for name, path in (("PIXELCORE_TLS_CERT", chosen.tls_cert), ("PIXELCORE_TLS_KEY", chosen.tls_key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{name}: {path}: {error.strerror}") from None
    try:
        # An encrypted key would ask for its password.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chosen.tls_cert, chosen.tls_key, password="")
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise SettingsError(f"PIXELCORE_TLS_CERT, PIXELCORE_TLS_KEY: not a certificate and its key: {why}") from None


def local_url(address: HostPort, certificate: Path | None) -> str:
    """The gateway's address for a browser on this machine."""
    # The content security policy of the live page cannot name an IPv6 address.
    local = {"0.0.0.0": "127.0.0.1", "::": "localhost", "::1": "localhost"}
    return f"http{'s' if certificate else ''}://{address._replace(host=local.get(address.host, address.host))}"


def show_banner(chosen: settings.Settings, address: HostPort, keys: str, live: str) -> None:
    """Print the version, a URL to try, and the command that shows its event."""
    if chosen.ships:
        brokers = re.sub(r"//[^/@,]*@", "//…@", chosen.kafka["bootstrap.servers"])  # a password may be in there
        where = f"topic {chosen.topic} at {brokers}, {chosen.delivery}"
    else:
        where = f"journal only, under {chosen.data_dir}: PIXELCORE_KAFKA_BOOTSTRAP_SERVERS is not set"
    data_dir = "" if str(chosen.data_dir) == "pixelcore-data" else f" --data-dir {chosen.data_dir}"
    here = address._replace(host="localhost") if address.host in ("0.0.0.0", "::", "127.0.0.1", "::1") else address
    key = "dk_test_1" if chosen.keys_file is None else "YOUR_KEY"
    scheme = "https" if chosen.tls_cert else "http"
    agent = " -A 'Mozilla/5.0 (X11) Firefox'" if chosen.automated == "reject" else ""  # curl is automated
    click.echo(
        f"""pixelcore {__version__}
  events go to   {where}
  keys           {keys}
  try            curl -s{agent} '{scheme}://{here}/v1/pixel/track?wk={key}&e=Hello' -o pixel.gif
  see the event  {this_command()} tail -f{data_dir}
  metrics        {f"http://{chosen.metrics_address}/metrics" if chosen.metrics_address else "off"}
  live page      {live or "off: start with --inspect"}
""",
        err=True,
    )
