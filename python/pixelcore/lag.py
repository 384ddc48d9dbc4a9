"""How much is in the journals, and how much of it is not in Kafka yet: read from the disk, whoever writes and ships.

A shipment notes the offset that it has committed in a file of its journal, so whoever looks need not ask Kafka. That is
for looking only: a forwarder goes on from what Kafka says.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from .datadir import journals

NOTE = "committed"
SHIPPED = "shipped"
CHUNK = 1 << 20


def note(journal: Path, offset: int) -> None:
    """Note that the events below ``offset`` are in the topic."""
    # Without this the lag looks longer than it is, which is not worth an error.
    with contextlib.suppress(OSError):
        file = os.open(journal / NOTE, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, f"{offset:020}".encode(), 0)  # never seen half: it is not cut off before
        finally:
            os.close(file)


@dataclass
class Backlog:
    """What is under one root of journals."""

    bytes: int = 0
    """Of all segments, shipped ones included."""
    lag_bytes: int = 0
    lag_events: int = 0
    oldest: float | None = None
    """When the first event that is not shipped came, in Unix seconds."""


@dataclass
class Looker:
    """Looks at one root again and again, and counts the lines of a finished segment once."""

    root: Path
    _lines: dict[Path, int] = field(default_factory=dict)

    def look(self, ships: bool) -> Backlog:
        """The backlog now; without ``ships`` only its ``bytes``."""
        found = Backlog()
        counted: dict[Path, int] = {}
        for journal in journals(self.root):
            # Its segments may be shipped and deleted under our eyes; the next look sees that.
            with contextlib.suppress(FileNotFoundError):
                segments = sorted((path, path.stat().st_size) for path in journal.glob("*.ndjson"))
                found.bytes += sum(size for _, size in segments)
                if ships and not (journal / SHIPPED).exists():
                    self._add_lag(found, segments, _noted(journal), counted)
        self._lines = counted
        return found

    def _add_lag(
        self, found: Backlog, segments: list[tuple[Path, int]], committed: int, counted: dict[Path, int]
    ) -> None:
        behind = [(path, size, min(max(committed - int(path.stem), 0), size)) for path, size in segments]
        behind = [(path, size, shipped) for path, size, shipped in behind if shipped < size]
        for index, (path, size, shipped) in enumerate(behind):
            found.lag_bytes += size - shipped
            if index == 0 and (received_at := _received_at(path, shipped)) is not None:
                found.oldest = received_at if found.oldest is None else min(found.oldest, received_at)
            if shipped or index == len(behind) - 1:
                found.lag_events += _count_lines(path, shipped)
            else:
                counted[path] = self._lines[path] if path in self._lines else _count_lines(path, 0)
                found.lag_events += counted[path]


def _noted(journal: Path) -> int:
    try:
        return int((journal / NOTE).read_bytes())
    except (FileNotFoundError, ValueError):
        return 0


def _count_lines(segment: Path, offset: int) -> int:
    lines = 0
    with segment.open("rb", buffering=0) as file:
        file.seek(offset)
        while chunk := file.read(CHUNK):
            lines += chunk.count(b"\n")
    return lines


def _received_at(segment: Path, offset: int) -> float | None:
    """When the event at an offset came; None for a line that is torn or damaged."""
    with segment.open("rb") as file:
        file.seek(offset)
        try:
            text = json.loads(file.readline(CHUNK))["receivedAt"]
            return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
