"""Progress of long work, on stderr: a bar on a terminal, and a line from time to time elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from rich import filesize
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

BAR_SECONDS = 0.1
LINE_SECONDS = 10.0
"""Without a terminal, shorter work prints nothing."""

Unit = Literal["bytes", "events"]


class Tell(Protocol):
    """Takes the total amount done so far. It may be called as often as you like."""

    def __call__(self, done: float) -> None: ...


def amount(count: float, unit: Unit) -> str:
    """``1.2 MB`` or ``1,200 events``."""
    return filesize.decimal(int(count)) if unit == "bytes" else f"{count:,.0f} {unit}"


@contextmanager
def progress(what: str, total: float, unit: Unit, console: Console | None = None) -> Iterator[Tell]:
    """Show the progress of ``what`` with its rate and remaining time: ``with progress("replay", 10_000, "events") as tell: tell(done)``."""
    console = console or Console(stderr=True)
    began = time.monotonic()
    if console.is_interactive:
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}")
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task(what, total=total, rate="")

            def draw(done: float) -> None:
                bar.update(task, completed=done, rate=_rate(done, began, unit))

            yield _now_and_then(draw, BAR_SECONDS)
    else:

        def write(done: float) -> None:
            rate = done / max(time.monotonic() - began, 0.001)
            left = f", {(total - done) / rate:,.0f} s left" if 0 < done < total else ""
            share = f"{min(100, 100 * done / total):.0f} % of {amount(total, unit)}" if total else amount(done, unit)
            console.out(f"{what}: {share}, {_rate(done, began, unit)}{left}", highlight=False)

        yield _now_and_then(write, LINE_SECONDS)


def _rate(done: float, began: float, unit: Unit) -> str:
    return f"{amount(done / max(time.monotonic() - began, 0.001), unit)}/s"


def _now_and_then(tell: Tell, seconds: float) -> Tell:
    due = time.monotonic() + seconds

    def told(done: float) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + seconds
            tell(done)

    return told
