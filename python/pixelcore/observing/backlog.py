"""The size of the journals, and their lag: the part that is not in Kafka yet. Both are read from the disk, for any writer and forwarder."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ..datadir import UNDELIVERABLE
from ..journals import JournalDirectory, Segment, Signature, journals

CHUNK = 1 << 20


@dataclass
class Backlog:
    """The backlog of a journal, or under one root of journals."""

    bytes: int = 0
    """The bytes of all segments, shipped ones included."""
    lag_bytes: int = 0
    lag_events: int = 0
    oldest: float | None = None
    """The time of receipt of the oldest unshipped event, in Unix seconds."""

    def add(self, other: Backlog) -> None:
        """Add another backlog to this one."""
        self.bytes += other.bytes
        self.lag_bytes += other.lag_bytes
        self.lag_events += other.lag_events
        self.oldest = min((age for age in (self.oldest, other.oldest) if age is not None), default=None)


class _Seen(NamedTuple):
    """A journal at the time of a scan."""

    signature: Signature | None
    """None if a later change may not show in it."""
    last: Path | None
    lines: dict[Path, int]
    """The lines of the finished segments, which are counted once."""
    backlog: Backlog


@dataclass
class BacklogScanner:
    """Scans one root repeatedly. It reads only the journals that changed since the last scan."""

    root: Path
    ships: bool = True
    """Whether the journals are shipped. Otherwise only ``bytes`` is set."""
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def scan(self) -> Backlog:
        """The backlog now."""
        found = Backlog()
        seen: dict[str, _Seen] = {}
        for journal in journals(self.root):
            now = self._seen.get(journal.id)
            if now is None or now.signature != journal.signature(now.last):
                now = self._look(journal, {} if now is None else now.lines)
            seen[journal.id] = now
            found.add(now.backlog)
        self._seen = seen
        return found

    def _look(self, journal: JournalDirectory, known: dict[Path, int]) -> _Seen:
        signature = journal.signature(None)
        segments = journal.segments()
        found = Backlog(sum(segment.size for segment in segments))
        lines: dict[Path, int] = {}
        if self.ships and journal.shipped_at is None:
            # Segments may be shipped and deleted meanwhile. The next scan sees it.
            with contextlib.suppress(FileNotFoundError):
                self._add_lag(found, journal, segments, known, lines)
        if not segments:
            return _Seen(None, None, lines, found)
        signature = signature._replace(size=segments[-1].size)
        return _Seen(signature if signature.is_settled else None, segments[-1].path, lines, found)

    @staticmethod
    def _add_lag(
        found: Backlog,
        journal: JournalDirectory,
        segments: list[Segment],
        known: dict[Path, int],
        lines: dict[Path, int],
    ) -> None:
        committed = journal.committed
        behind = [segment for segment in segments if committed < segment.end]
        for index, (start, size, path) in enumerate(behind):
            shipped = max(committed - start, 0)
            found.lag_bytes += size - shipped
            if index == 0:
                found.oldest = _received_at(path, shipped)
            if shipped or index == len(behind) - 1:
                found.lag_events += _count_lines(path, shipped)
            else:
                lines[path] = known[path] if path in known else _count_lines(path, 0)
                found.lag_events += lines[path]


def undeliverable_bytes(data_dir: Path) -> int:
    """The bytes of the events that a topic refused."""
    found = 0
    for name in UNDELIVERABLE.values():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += (data_dir / name).stat().st_size
    return found


def _count_lines(segment: Path, offset: int) -> int:
    lines = 0
    with segment.open("rb", buffering=0) as file:
        file.seek(offset)
        while chunk := file.read(CHUNK):
            lines += chunk.count(b"\n")
    return lines


def _received_at(segment: Path, offset: int) -> float | None:
    """The time of receipt of the event at an offset, in Unix seconds; None for a torn or damaged line."""
    with segment.open("rb") as file:
        file.seek(offset)
        try:
            text = json.loads(file.readline(CHUNK))["receivedAt"]
            return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
