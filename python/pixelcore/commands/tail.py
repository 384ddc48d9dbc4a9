"""The command ``pixelcore tail``: events as they come, from the journals of all workers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from .._core import JournalReader
from ..errors import JournalError
from ..journals import EVENTS, REJECTIONS, JournalDirectory, journals
from .flags import load, setting_flags

POLL_SECONDS = 0.1
LAST_BYTES = 32 << 20


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with events as they come.")
@click.option("-n", "--lines", default=10, show_default=True, type=click.IntRange(0), help="How many of the past.")
@click.option("--rejected", is_flag=True, help="Show rejected requests instead of events.")
@setting_flags("data_dir")
def tail(follow: bool, lines: int, rejected: bool, data_dir: str | None) -> None:
    """Show journaled events: pretty on a terminal, NDJSON in a pipe. Shipped ones are gone sooner or later."""
    root = load({"data_dir": data_dir}).data_dir / (REJECTIONS if rejected else EVENTS)
    readers: dict[JournalDirectory, JournalReader] = {}

    def events() -> Iterator[bytes]:
        yield from last_lines(root, lines, readers)
        if follow:
            yield from follow_lines(root, readers)

    try:
        show(events())
    except JournalError as error:
        raise click.ClickException(str(error)) from None
    except (KeyboardInterrupt, BrokenPipeError):
        # Ctrl-C and `| head` are ordinary ends. Python's own flush at exit must not complain of the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def last_lines(root: Path, count: int, readers: dict[JournalDirectory, JournalReader]) -> list[bytes]:
    """The last ``count`` events of all journals by time of receipt; leaves ``readers`` at the journals' ends."""
    kept: list[tuple[str, bytes]] = []
    for journal in journals(root):
        # Nobody wants to see more than the last segments have.
        readers[journal] = reader = JournalReader(journal.path, journal.start_of_last(LAST_BYTES))
        while lines := reader.lines():
            kept = sorted(kept + [(json.loads(line)["receivedAt"], line) for line in lines])[-count:] if count else []
    return [line for _, line in kept]


def follow_lines(root: Path, readers: dict[JournalDirectory, JournalReader]) -> Iterator[bytes]:
    """Events as they are journaled, for ever."""
    while True:
        moved = False
        for journal in journals(root):
            reader = readers.setdefault(journal, JournalReader(journal.path))
            for line in reader.lines():
                moved = True
                yield line
        if not moved:
            time.sleep(POLL_SECONDS)


def show(lines: Iterator[bytes]) -> None:
    """Print NDJSON, or pretty JSON on a terminal."""
    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        for line in lines:
            console.print_json(line.decode())
    else:
        for line in lines:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
