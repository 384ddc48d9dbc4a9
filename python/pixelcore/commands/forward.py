"""The command ``pixelcore forward``."""

from __future__ import annotations

import signal
import threading

import click

from ..observing import log
from .flags import kafka_flag, load, setting_flags, try_settings


@click.command()
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
    from ..shipping.forwarder import Forwarder

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
