"""The command ``pixelcore tail``: shows events as they arrive, from the journals of all workers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import click

from .. import datadir
from .._core import JournalReader
from ..journals import EVENTS, REJECTIONS, JournalDirectory, journals
from ..printable import escape_controls
from .flags import SettingsCommand, load, setting_flags
from .nothing import NothingThere
from .records import Choice, Record

POLL_SECONDS = 0.1
LAST_BYTES = 32 << 20


@click.command(cls=SettingsCommand, short_help="Show the last events, and new ones.")
@click.option("-f", "--follow", is_flag=True, help="Continue with new events as they arrive.")
@click.option("-n", "--lines", default=10, show_default=True, type=click.IntRange(0), help="Number of past events.")
@click.option("--rejected", is_flag=True, help="Show rejected requests instead of events.")
@click.option("--pretty", is_flag=True, help="Show the whole JSON, one member per line.")
@click.option(
    "--key",
    multiple=True,
    help="Only records of the pipeline with this key or id; may be repeated, like the next three.",
)
@click.option("--type", multiple=True, help="Only events of this type, such as track.")
@click.option("--event", multiple=True, help="Only tracks of this event, or pages of this name.")
@click.option("--id", multiple=True, help="Only records with this user, anonymous, group or message id.")
@setting_flags("data_dir")
def tail(
    follow: bool, lines: int, rejected: bool, pretty: bool, data_dir: str | None, **chosen: tuple[str, ...]
) -> None:
    """Show journaled events: one line each on a terminal, in UTC, and NDJSON in a pipe.

    Shipped events are deleted from the journal. Exits 3 when there are no events to show.
    """
    data = load({"data_dir": data_dir}).data_dir
    kind = REJECTIONS if rejected else EVENTS
    if not datadir.existing(data, or_coming=follow):
        click.echo(f"no gateway has written to {data} yet: waiting for one", err=True)
    show = printer(pretty)
    readers: dict[JournalDirectory, JournalReader] = {}
    choice = Choice(**chosen)
    try:
        past = last_records(data / kind, lines, readers, choice)
        for record in past:
            show(record)
        if follow:
            for record in new_records(data / kind, readers, choice):
                show(record)
    except (KeyboardInterrupt, BrokenPipeError):
        # Ctrl-C and `| head` are ordinary ends. Python's flush at exit must not report the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if lines and not past:
        such = "no such" if any(choice) else "no"
        raise NothingThere(f"{such} {kind} in {data}: nothing has arrived, or all of it was shipped and deleted")


def last_records(
    root: Path, count: int, readers: dict[JournalDirectory, JournalReader], choice: Choice
) -> list[Record]:
    """The last ``count`` selected records of all journals, by time of receipt. Leaves ``readers`` at the journals' ends."""
    kept: list[Record] = []
    for journal in reversed(journals(root)):
        last = journal.segments()[-1:]
        if last and (count == 0 or (len(kept) == count and _written(last[0].path) < kept[0].received_at)):
            readers[journal] = JournalReader(journal.path, last[0].end)
            continue
        # The last segments have more lines than anybody wants to see.
        reader = JournalReader(journal.path, journal.start_of_last(LAST_BYTES))
        new: list[Record] = []
        while lines := reader.lines():
            new = _last(count, [*new, *chosen_of(lines, choice)])
        kept = _last(count, [*new, *kept])
        # A new reader has no open file. There may be more journals than a process may open files.
        readers[journal] = JournalReader(journal.path, reader.offset)
    return kept


def _last(count: int, records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.received_at)[-count:] if count else []


def _written(segment: Path) -> str:
    """A time before which all records of a segment were received, in their form."""
    try:
        # The clock of files is some milliseconds behind.
        written = datetime.fromtimestamp(segment.stat().st_mtime + 1, timezone.utc)
    except FileNotFoundError:
        return ""
    return f"{written:%Y-%m-%dT%H:%M:%S.%fZ}"


def new_records(root: Path, readers: dict[JournalDirectory, JournalReader], choice: Choice) -> Iterator[Record]:
    """Selected records as they are journaled, without end."""
    ended: set[str] = set()
    while True:
        moved = False
        for journal in journals(root, but=ended):
            reader = readers.setdefault(journal, JournalReader(journal.path))
            lines = reader.lines()
            moved |= bool(lines)
            yield from chosen_of(lines, choice)
            if not lines and reader.finished():
                ended.add(journal.id)
                del readers[journal]
        if not moved:
            time.sleep(POLL_SECONDS)


def chosen_of(lines: list[bytes], choice: Choice) -> list[Record]:
    """The selected records among lines. Lines that are not records are skipped."""
    return [record for record in map(Record.read, lines) if record is not None and choice.has(record)]


def printer(pretty: bool) -> Callable[[Record], None]:
    """A function that prints a record: as a row on a terminal, as NDJSON in a pipe, or as indented JSON with ``pretty``."""
    if not (pretty or sys.stdout.isatty()):

        def write(record: Record) -> None:
            sys.stdout.buffer.write(escape_controls(record.line.decode()).encode() + b"\n")
            sys.stdout.buffer.flush()

        return write
    from rich.console import Console

    console = Console()
    if pretty:
        return lambda record: console.print(record.pretty(), soft_wrap=True)
    return lambda record: console.print(record.row(), no_wrap=True, overflow="ellipsis", crop=True)
