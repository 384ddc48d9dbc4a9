"""The command ``pixelcore check``."""

from __future__ import annotations

import logging

import click

from ..errors import SettingsError
from .flags import SettingsCommand, kafka_flag, load, setting_flags


@click.command(cls=SettingsCommand, short_help="Check the set-up before you go live: disk, keys, Kafka, clock.")
@click.option(
    "--timeout",
    default=10.0,
    show_default=True,
    type=click.FloatRange(1, 300),
    help="Time limit of each step, in seconds.",
)
@setting_flags(
    "data_dir", "keys_file", "journal_max_bytes", "rejected_max_bytes", "topic", "checkpoint_topic", "delivery"
)
@kafka_flag
def check(timeout: float, kafka: tuple[str, ...], **flags: str | None) -> None:
    """Check disk, key file, brokers, topics, rights, transactions and clock. Exits 1 if a check fails."""
    try:
        chosen = load(flags, kafka)
    except SettingsError as error:
        click.ClickException(str(error)).show()
        raise SystemExit(2) from None
    from . import checks

    # The findings contain the clients' errors, so their log lines are not needed.
    logging.disable()
    if not checks.run(chosen, timeout):
        raise SystemExit(1)
