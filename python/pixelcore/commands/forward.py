"""The command ``pixelcore forward``."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import click

from .. import datadir
from ..folding import Folder
from ..journals import EVENTS, REJECTIONS
from ..observing import log
from ..observing.backlog import BacklogScanner
from ..observing.stalls import STALLED_SECONDS
from ..settings import Settings
from .flags import SettingsCommand, kafka_flag, load, setting_flags, try_settings
from .progress import progress

if TYPE_CHECKING:
    from ..shipping.forwarder import Forwarder


@click.command(cls=SettingsCommand, short_help="Ship a data directory to Kafka without serving.")
@click.option("-f", "--follow", is_flag=True, help="Continue, and ship new events of workers that have no Kafka.")
@click.option(
    "--undeliverable", is_flag=True, help="Ship the events again that a topic refused. Repair the topic first."
)
@setting_flags(
    *("data_dir", "keys_file", "topic", "rejected_topic", "checkpoint_topic", "delivery", "journal_retain"),
    *("last_open_topic", "aggregate_topic", "aggregate_window"),
    *("batch_interval", "topic_partitions", "topic_replicas", "log_level", "log_format"),
)
@kafka_flag
def forward(follow: bool, undeliverable: bool, kafka: tuple[str, ...], **flags: str | None) -> None:
    """Ship the journals of a data directory to Kafka without serving. Exits 0 when everything is shipped.

    Without --follow, it gives up after a minute without progress.
    """
    chosen = load(flags, kafka)
    log.configure(chosen)
    if not chosen.ships:
        raise click.ClickException("PIXELCORE_KAFKA_BOOTSTRAP_SERVERS: is not set")
    if not follow:
        datadir.existing(chosen.data_dir)
    try_settings(chosen)
    from ..shipping.forwarder import Forwarder
    from ..shipping.undeliverable import ship_again

    # An event and not an exception: an exception within a thread's join makes the thread look dead.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    folder = Folder(chosen)
    folder.round()
    forwarder = Forwarder(chosen, follow=follow)
    if undeliverable:
        again = ship_again(chosen.data_dir)
        if not again and not follow:
            raise click.ClickException(f"{chosen.data_dir}: no events were refused: there is nothing to ship again")
    if follow:
        folder.start()
        forwarder.start()
        stop.wait()
        folder.stop()
        forwarder.stop(chosen.drain_seconds)
    else:
        _ship_all(forwarder, chosen, stop)


def _ship_all(forwarder: Forwarder, chosen: Settings, stop: threading.Event) -> None:
    """Ship everything, report the progress, and give up after a minute without progress."""
    left = _Left(chosen)
    total = left.events()
    forwarder.start()
    stalled: str | None = None
    with progress("forward", total, "events") as tell:
        while not (forwarder.join(0.0) or stalled or stop.wait(0.1)):
            tell(total - left.events())
            seconds, why = forwarder.stalled
            if seconds > STALLED_SECONDS:
                stalled = why
    forwarder.stop(0.0 if stalled else chosen.drain_seconds)
    if stalled:
        raise click.ClickException(f"{stalled}; unshipped events are safe in {chosen.data_dir}")
    if not forwarder.finished:
        raise click.ClickException("not everything was shipped: see the log")
    click.echo(f"shipped {total:,} events" if total else "nothing to ship: everything is in Kafka", err=True)


class _Left:
    """The number of unshipped events, counted once a second."""

    def __init__(self, chosen: Settings) -> None:
        kinds = (EVENTS, REJECTIONS) if chosen.rejected_topic is not None else (EVENTS,)
        self._scanners = [BacklogScanner(chosen.data_dir / kind) for kind in kinds]
        self._look_at = 0.0
        self._events = 0

    def events(self) -> int:
        """The number at the last count."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + 1.0
            self._events = sum(scanner.scan().lag_events for scanner in self._scanners)
        return self._events
