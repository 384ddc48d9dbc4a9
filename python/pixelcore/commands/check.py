"""The command ``pixelcore check``."""

from __future__ import annotations

import logging

import click

from .flags import kafka_flag, load, setting_flags


@click.command()
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
    from . import checks

    # Whatever the clients complain of is in the findings.
    logging.disable()
    if not checks.run(chosen, timeout):
        raise SystemExit(1)
