"""``python -m tests.brokers``: the matrix of brokers, as a table. See docs/brokers.md."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.brokers.rows import ROWS, Row, carry_out
from tests.brokers.run import VERSIONS, Outcome
from tests.kafka.broker import kafka_jars

AT_ONCE = 3
"""Most of a row is waiting."""
COLUMNS = ("Kafka", "what is done", "sent", "answered", "in topic", "missing", "repeated", "the operator is told of")


def run_all(rows: Iterable[Row], directory: Path, console: Console) -> list[Outcome]:
    """All rows, some at the same time."""
    begun = time.monotonic()

    def one(row: Row, version: str) -> Outcome:
        outcome = carry_out(row, version, directory)
        console.print(f"{time.monotonic() - begun:6.1f} {row.name} {version}: {'ok' if outcome.ok else 'FAILED'}")
        return outcome

    with ThreadPoolExecutor(AT_ONCE) as pool:
        wanted = [pool.submit(one, row, version) for row in rows for version in row.versions]
        return [future.result() for future in wanted]


@click.command()
@click.option("--only", default="", help="Rows by name, with commas.")
@click.option("--keep", type=click.Path(path_type=Path), help="A directory, not there yet, that keeps all logs.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
def main(only: str, keep: Path | None, markdown: bool) -> None:
    """Ship to brokers of four versions, and do to them what operators do. Exits 1 if anything was lost, repeated or not told."""
    if unknown := set(filter(None, only.split(","))) - ROWS.keys():
        raise click.ClickException(f"--only: no row is named {min(unknown)}; there are {', '.join(ROWS)}")
    chosen = [row for row in ROWS.values() if not only or row.name in only.split(",")]
    for version in VERSIONS[1:]:
        kafka_jars(version)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    with tempfile.TemporaryDirectory(prefix="pixelcore-brokers-") as name:
        outcomes = run_all(chosen, keep or Path(name), console)
    lines = [_cells(outcome) for outcome in outcomes]
    if markdown:
        ruler = ("---", "---", *["---:"] * 5, "---")
        click.echo("\n".join(f"| {' | '.join(line)} |" for line in (COLUMNS, ruler, *lines)))
    else:
        table = Table(*COLUMNS)
        for outcome, line in zip(outcomes, lines, strict=True):
            table.add_row(*line, style=None if outcome.ok else "bold red")
        console.print(table)
    for outcome in outcomes:
        if outcome.trouble:
            console.print(f"{outcome.version}, {outcome.title}: {outcome.trouble}", markup=False, style="red")
    sys.exit(0 if all(outcome.ok for outcome in outcomes) else 1)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    counts = (outcome.sent, outcome.answered, outcome.in_topic, outcome.missing, outcome.repeated)
    return (outcome.version, outcome.title, *map(str, counts), "; ".join(outcome.told))


main()
