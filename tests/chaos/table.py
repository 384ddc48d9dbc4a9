"""The table of a run, for people and for pages."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tests.chaos.accounting import Report, Row

COLUMNS = ("fault", "times", "sent", "answered", "refused", "in topic", "caught up s", "missing", "repeated")


def cells(row: Row) -> list[str]:
    """A row's cells."""
    repeated = f"{row.repeated} (allowed)" if row.repeats_allowed else str(row.repeated)
    counts = (row.times, row.sent, row.answered, row.refused, row.in_topic)
    return [row.fault, *map(str, counts), f"{row.caught_up:.1f}", str(row.missing), repeated]


def show(report: Report, title: str, console: Console) -> None:
    """Print the table."""
    table = Table(title=title)
    for index, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in report.rows:
        table.add_row(*cells(row), style=None if row.ok else "bold red")
    console.print(table)
    console.print(verdict(report))


def markdown(report: Report) -> str:
    """The table in Markdown."""
    lines = [COLUMNS, ["---", *["---:"] * (len(COLUMNS) - 1)], *map(cells, report.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(report: Report) -> str:
    """The facts outside of the table, and the outcome."""
    more = f"{report.unknown} in the topic that nobody sent, {report.disordered} out of order"
    return f"{more}: {'the promise was kept' if report.ok else 'THE PROMISE WAS BROKEN'}"
