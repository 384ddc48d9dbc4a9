"""``pixelcore tail``: events as they come, from the journals of all workers."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ._core import JournalReader
from .datadir import journals

POLL_SECONDS = 0.1
BATCH_EVENTS = 1000
BATCH_BYTES = 1 << 20
LAST_BYTES = 32 << 20


def last(root: Path, count: int, readers: dict[Path, JournalReader]) -> list[bytes]:
    """The last ``count`` events of all journals by time of receipt; leaves ``readers`` at the journals' ends."""
    kept: list[tuple[str, bytes]] = []
    for path in journals(root):
        readers[path] = reader = JournalReader(path, _near_the_end(path))
        while lines := reader.lines(BATCH_EVENTS, BATCH_BYTES):
            kept = sorted(kept + [(json.loads(line)["receivedAt"], line) for line in lines])[-count:] if count else []
    return [line for _, line in kept]


def _near_the_end(journal: Path) -> int:
    """The offset of the segment with which the last ones add up to more than anybody wants to see."""
    offset, behind = 0, 0
    for segment in sorted(journal.glob("*.ndjson"), reverse=True):
        with contextlib.suppress(FileNotFoundError):
            behind += segment.stat().st_size
        offset = int(segment.stem)
        if behind >= LAST_BYTES:
            break
    return offset


def follow(root: Path, readers: dict[Path, JournalReader]) -> Iterator[bytes]:
    """Events as they are journaled, for ever."""
    while True:
        moved = False
        for path in journals(root):
            reader = readers.setdefault(path, JournalReader(path))
            for line in reader.lines(BATCH_EVENTS, BATCH_BYTES):
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
