"""How much is in the journals, and how much of it is not in Kafka yet: read from the disk, whoever writes and ships."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ..journals import JournalDirectory, Segment, journals

CHUNK = 1 << 20


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
class BacklogScanner:
    """Scans one root again and again, and counts the lines of a finished segment once."""

    root: Path
    _lines: dict[Path, int] = field(default_factory=dict)

    def scan(self, ships: bool) -> Backlog:
        """The backlog now; without ``ships`` only its ``bytes``."""
        found = Backlog()
        counted: dict[Path, int] = {}
        for journal in journals(self.root):
            segments = journal.segments()
            found.bytes += sum(segment.size for segment in segments)
            # Segments may be shipped and deleted meanwhile; the next scan sees that.
            with contextlib.suppress(FileNotFoundError):
                if ships and journal.shipped_at is None:
                    self._add_lag(found, journal, segments, counted)
        self._lines = counted
        return found

    def _add_lag(
        self, found: Backlog, journal: JournalDirectory, segments: list[Segment], counted: dict[Path, int]
    ) -> None:
        committed = journal.committed
        behind = [segment for segment in segments if committed < segment.end]
        for index, (start, size, path) in enumerate(behind):
            shipped = max(committed - start, 0)
            found.lag_bytes += size - shipped
            if index == 0 and (received_at := _received_at(path, shipped)) is not None:
                found.oldest = received_at if found.oldest is None else min(found.oldest, received_at)
            if shipped or index == len(behind) - 1:
                found.lag_events += _count_lines(path, shipped)
            else:
                counted[path] = self._lines[path] if path in self._lines else _count_lines(path, 0)
                found.lag_events += counted[path]


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
