"""The command ``pixelcore``."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

import click

from . import __version__, _core, beside, datadir, exporter, log, settings
from .cli_url import url
from .datadir import EVENTS, REJECTIONS
from .errors import JournalError, SettingsError

F = TypeVar("F", bound=Callable[..., Any])


def setting_flags(*names: str) -> Callable[[F], F]:
    """A flag for each setting, made from `settings.Settings`; all of them where no names are given."""

    def decorate(command: F) -> F:
        for name, description in reversed(settings.described().items()):
            if name != "kafka" and (not names or name in names):
                variable = settings.variable(name)
                default = getattr(settings.DEFAULTS, name)
                help_text = f"{description}  [env: {variable}; default: {'none' if default in (None, ()) else default}]"
                command = click.option(f"--{name.replace('_', '-')}", name, metavar="VALUE", help=help_text)(command)
        return command

    return decorate


kafka_flag = click.option(
    "-X",
    "kafka",
    multiple=True,
    metavar="PROPERTY=VALUE",
    help="A librdkafka property, such as bootstrap.servers=localhost:9092.  [env: PIXELCORE_KAFKA_…]",
)


def load(flags: Mapping[str, str | None], kafka: tuple[str, ...] = ()) -> settings.Settings:
    """The settings of flags and environment. Flags go into the environment, so that workers see them, too."""
    for name, value in flags.items():
        if value is not None:
            os.environ[settings.variable(name)] = value
    for assignment in kafka:
        prop, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"{assignment!r} is not PROPERTY=VALUE", param_hint="-X")
        os.environ[settings.KAFKA_PREFIX + prop.upper().replace(".", "_")] = value
    try:
        return settings.load()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="pixelcore")
def main() -> None:
    """A tracking-pixel ingestion gateway: each GET for a GIF becomes one JSON event."""


@main.command()
@click.option("--bind", default="0.0.0.0:8080", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="How many worker processes.")
@click.option(
    "--inspect", is_flag=True, help="Serve the live page, which shows events as they come, on this machine only."
)
@setting_flags()
@kafka_flag
def serve(bind: str, workers: int, inspect: bool, kafka: tuple[str, ...], **flags: str | None) -> None:
    """Serve pixels."""
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{bind!r} is not HOST:PORT", param_hint="--bind")
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
        address=host.strip("[]"),
        port=int(port),
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
        page = beside.running("inspect", local_url(host, port), setting="PIXELCORE_INSPECT_ADDRESS")
    try:
        with datadir.held(chosen.data_dir), exporter.running(chosen), page as live:
            show_banner(chosen, port, keys, live)
            server.serve()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def raise_file_limit() -> None:
    """Allow as many open files as may be: each connection is one, and a worker without one left could write no event."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit that it does not name
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def try_settings(chosen: settings.Settings) -> None:
    """Try what can be tried before a server starts."""
    try:
        chosen.data_dir.mkdir(0o700, parents=True, exist_ok=True)
        if not os.access(chosen.data_dir, os.W_OK):
            raise PermissionError(f"{chosen.data_dir} is not writable")
        if chosen.ships:
            from . import kafka

            kafka.producer(chosen)
    except OSError as error:
        raise click.ClickException(f"PIXELCORE_DATA_DIR: {error}") from None
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def this_command() -> str:
    """What to type for this program, where its environment may not be the active one."""
    if shutil.which("pixelcore"):
        return "pixelcore"
    return sys.argv[0] if sys.argv[0].endswith("pixelcore") else f"{sys.executable} -m pixelcore"


def describe_keys(chosen: settings.Settings) -> str:
    """Which keys are accepted. A key file that is wrong is found here, before a server starts."""
    if chosen.keys_file is None:
        return "every well-formed key is accepted: there is no PIXELCORE_KEYS_FILE"
    from . import pipelines

    try:
        return f"{pipelines.count(chosen.keys_file)} from {chosen.keys_file}, and no others"
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def local_url(host: str, port: str) -> str:
    """The gateway's address for a browser on this machine."""
    if host in ("0.0.0.0", "127.0.0.1"):
        return f"http://127.0.0.1:{port}"
    # Where a policy of a page names an address, it cannot be IPv6.
    return f"http://{'localhost' if host in ('[::]', '[::1]') else host}:{port}"


def show_banner(chosen: settings.Settings, port: str, keys: str, live: str) -> None:
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


@main.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with events as they come.")
@click.option("-n", "--lines", default=10, show_default=True, type=click.IntRange(0), help="How many of the past.")
@click.option("--rejected", is_flag=True, help="Show rejected requests instead of events.")
@setting_flags("data_dir")
def tail(follow: bool, lines: int, rejected: bool, data_dir: str | None) -> None:
    """Show journaled events: pretty on a terminal, NDJSON in a pipe. Shipped ones are gone sooner or later."""
    from . import tail as tailing
    from ._core import JournalReader

    root = load({"data_dir": data_dir}).data_dir / (REJECTIONS if rejected else EVENTS)
    readers: dict[Any, JournalReader] = {}

    def events() -> Iterator[bytes]:
        yield from tailing.last(root, lines, readers)
        if follow:
            yield from tailing.follow(root, readers)

    try:
        tailing.show(events())
    except JournalError as error:
        raise click.ClickException(str(error)) from None
    except (KeyboardInterrupt, BrokenPipeError):
        # Ctrl-C and `| head` are ordinary ends. Python's own flush at exit must not complain of the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@main.command()
@click.option("-f", "--follow", is_flag=True, help="Stay, and ship what workers without Kafka journal.")
@setting_flags(
    *("data_dir", "topic", "rejected_topic", "checkpoint_topic", "delivery", "journal_retain"),
    *("log_level", "log_format"),
)
@kafka_flag
def forward(follow: bool, kafka: tuple[str, ...], **flags: str | None) -> None:
    """Ship a data directory to Kafka without serving. Exits 0 when all there is has been shipped."""
    chosen = load(flags, kafka)
    log.configure(chosen)
    if not chosen.ships:
        raise click.ClickException("PIXELCORE_KAFKA_BOOTSTRAP_SERVERS: is not set")
    try_settings(chosen)
    from .forwarder import Forwarder

    # An event, not an exception: one that is raised within a thread's join makes the thread look dead.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    forwarder = Forwarder(chosen, follow=follow)
    forwarder.start()
    while not (forwarder.join(0.0) or stop.wait(0.1)):
        pass
    forwarder.stop(chosen.drain_seconds)
    if not (follow or forwarder.finished):
        raise click.ClickException("not everything was shipped: see the log")


def utc_time(text: str) -> str:
    """A time in ISO 8601, in UTC unless it says otherwise, as ``receivedAt`` has it."""
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
        utc = time.replace(tzinfo=time.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not like 2025-02-25T14:30:00Z or 2025-02-25") from None
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@main.command()
@click.option("--dry-run", is_flag=True, help="Judge only; nothing becomes an event.")
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice(_core.REASONS),
    metavar="REASON",
    help="Only what was rejected for this reason; may be repeated.",
)
@click.option("--since", type=utc_time, metavar="TIME", help="Only what was received then or later: ISO 8601, UTC.")
@click.option("--until", type=utc_time, metavar="TIME", help="Only what was received before.")
@setting_flags(
    *("data_dir", "journal_max_bytes", "journal_segment_bytes"),
    *("max_query_bytes", "max_parameters", "max_depth", "compat", "typed_values"),
    *("keys_file", "ip", "respect_gpc", "automated"),
)
def replay(dry_run: bool, reasons: tuple[str, ...], since: str | None, until: str | None, **flags: str | None) -> None:
    """Judge rejected requests again: what is accepted now becomes events, received when it was. Never twice."""
    chosen = load(flags)
    from . import replay as replaying

    def wanted(reason: str, received_at: str) -> bool:
        in_time = (since is None or since <= received_at) and (until is None or received_at < until)
        return in_time and (not reasons or reason in reasons)

    try:
        outcome = replaying.run(chosen, wanted, dry_run)
    except (JournalError, SettingsError, OSError) as error:
        raise click.ClickException(str(error)) from None
    rejected, accepted = outcome.rejected, outcome.accepted
    click.echo(f"{'reason':20}  {'still rejected':>14}  {'accepted':>14}")
    for reason in sorted({*rejected, *accepted}):
        click.echo(f"{reason:20}  {rejected[reason]:14}  {accepted[reason]:14}")
    click.echo(f"{'total':20}  {rejected.total():14}  {accepted.total():14}")
    if outcome.unreadable:
        click.echo(f"{outcome.unreadable} records could not be read", err=True)


@main.command()
@click.option(
    "--timeout", default=10.0, show_default=True, type=click.FloatRange(1, 300), help="Seconds that a step may take."
)
@setting_flags(
    "data_dir", "keys_file", "journal_max_bytes", "rejected_max_bytes", "topic", "checkpoint_topic", "delivery"
)
@kafka_flag
def check(timeout: float, kafka: tuple[str, ...], **flags: str | None) -> None:
    """Try disk, key file, brokers, topics, rights, transactions and clock. Exits 1 when something will not work."""
    try:
        chosen = load(flags, kafka)
    except click.ClickException as error:
        error.show()
        raise SystemExit(2) from None
    from . import check as checking

    # Whatever the clients complain of is in the findings.
    logging.disable()
    if not checking.run(chosen, timeout):
        raise SystemExit(1)


@main.command()
@click.argument("model", type=click.Choice(["event", "rejection"]), default="event")
def schema(model: str) -> None:
    """Print the JSON Schema of an event, or of a rejected request's record."""
    from .model import Event, Rejection
    from .model import schema as schema_of

    click.echo(json.dumps(schema_of(Rejection if model == "rejection" else Event), indent=2, ensure_ascii=False))


main.add_command(url)
