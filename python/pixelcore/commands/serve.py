"""The command ``pixelcore serve``."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sys

import click

from .. import __version__, datadir, settings, sidecar
from ..address import HostPort
from ..errors import SettingsError
from ..observing import log, metrics_process
from .flags import kafka_flag, load, setting_flags, try_settings


@click.command()
@click.option("--bind", default="0.0.0.0:8080", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="How many worker processes.")
@click.option(
    "--inspect", is_flag=True, help="Serve the live page, which shows events as they come, on this machine only."
)
@setting_flags()
@kafka_flag
def serve(bind: str, workers: int, inspect: bool, kafka: tuple[str, ...], **flags: str | None) -> None:
    """Serve pixels."""
    try:
        address = HostPort.parse(bind)
    except ValueError as error:
        raise click.BadParameter(f"{error}, not {bind!r}", param_hint="--bind") from None
    chosen = load(flags, kafka)
    try_settings(chosen)
    keys = describe_keys(chosen)
    # Granian takes a while to import, which --help and a wrong setting need not wait for.
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings

    raise_file_limit()
    server = Granian(
        "pixelcore.app:app",
        address=address.host,
        port=address.port,
        interface=Interfaces.RSGI,
        workers=workers,
        loop=Loops.auto if sys.platform == "win32" else Loops.uvloop,
        websockets=False,
        # Else a connection that says nothing, or half of HTTP/2's preface, stays open for ever.
        http=HTTPModes.http1,
        # Room for the longest target that hyper takes, 64 kB, and for headers; more than that gets 431.
        http1_settings=HTTP1Settings(max_buffer_size=131_072),
        log_dictconfig=log.config(chosen),
        # Connections beyond it would be closed without an answer; an idle one costs some kB.
        backpressure=16_384,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=int(chosen.drain_seconds) + 10,
    )
    page: contextlib.AbstractContextManager[str] = contextlib.nullcontext("")
    if inspect:
        page = sidecar.running("inspect", local_url(address), setting="PIXELCORE_INSPECT_ADDRESS")
    try:
        with datadir.locked(chosen.data_dir), metrics_process.running(chosen), page as live:
            show_banner(chosen, address.port, keys, live)
            server.serve()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def raise_file_limit() -> None:
    """Allow as many open files as may be: each connection is one, and a worker without one left could write no event."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit that it does not name
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def this_command() -> str:
    """What to type for this program, where its environment may not be the active one."""
    if shutil.which("pixelcore"):
        return "pixelcore"
    return sys.argv[0] if sys.argv[0].endswith("pixelcore") else f"{sys.executable} -m pixelcore"


def describe_keys(chosen: settings.Settings) -> str:
    """Which keys are accepted. A key file that is wrong is found here, before a server starts."""
    if chosen.keys_file is None:
        return "every well-formed key is accepted: there is no PIXELCORE_KEYS_FILE"
    from ..serving import key_file

    try:
        return f"{key_file.count(chosen.keys_file)} from {chosen.keys_file}, and no others"
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def local_url(address: HostPort) -> str:
    """The gateway's address for a browser on this machine."""
    # Where a policy of a page names an address, it cannot be IPv6.
    local = {"0.0.0.0": "127.0.0.1", "::": "localhost", "::1": "localhost"}
    return f"http://{address._replace(host=local.get(address.host, address.host))}"


def show_banner(chosen: settings.Settings, port: int, keys: str, live: str) -> None:
    """Say what runs, a URL to try, and how to see the event."""
    if chosen.ships:
        where = f"topic {chosen.topic} at {chosen.kafka['bootstrap.servers']}, {chosen.delivery}"
    else:
        where = f"journal only, under {chosen.data_dir}: no PIXELCORE_KAFKA_BOOTSTRAP_SERVERS is set"
    data_dir = "" if str(chosen.data_dir) == "pixelcore-data" else f" --data-dir {chosen.data_dir}"
    key = "dk_test_1" if chosen.keys_file is None else "YOUR_KEY"
    click.echo(
        f"""pixelcore {__version__}
  events go to   {where}
  keys           {keys}
  try            curl -s 'http://localhost:{port}/v1/pixel/track?wk={key}&e=Hello' -o pixel.gif
  see the event  {this_command()} tail -f{data_dir}
  metrics        {f"http://{chosen.metrics_address}/metrics" if chosen.metrics_address else "off"}
  live page      {live or "off: start with --inspect"}
""",
        err=True,
    )
