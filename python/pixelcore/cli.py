"""The command ``pixelcore``."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import click

from . import __version__, _core, log
from .cli_flags import kafka_flag, load, setting_flags, try_settings
from .cli_serve import serve
from .cli_url import url
from .datadir import EVENTS, REJECTIONS
from .errors import JournalError, SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="pixelcore")
def main() -> None:
    """A tracking-pixel ingestion gateway: each GET for a GIF becomes one JSON event."""


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


main.add_command(serve)
main.add_command(url)
