"""The feed of one open page: the lines that are journaled from now on, or an even sample if they are too many."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .._core import JournalReader
from ..journals import EVENTS, REJECTIONS, JournalDirectory, journals

LINES_A_SECOND, BURST, FEW = 100, 300, 10
"""The most lines of each kind per second, the most at once after a pause, and the fewest that are always allowed."""
BYTES = 256 << 10
"""The most bytes of each kind at once."""
RECENT_LINES, RECENT_BYTES = 20, 32 << 10
"""The past lines with which a page begins. The bytes are a limit per journal."""


class Sample:
    """A sample of one of every ``every`` lines, a power of two. It has at most ``limit`` lines and `BYTES`, or one longer line."""

    def __init__(self, limit: int) -> None:
        self.lines: list[bytes] = []
        self.every = 1
        self._limit = limit
        self._offered = 0

    def offer(self, lines: list[bytes]) -> None:
        """Sample the next lines, and thin out earlier ones if there are too many."""
        self.lines += lines[-self._offered % self.every :: self.every]
        self._offered += len(lines)
        while len(self.lines) > self._limit or (sum(map(len, self.lines)) > BYTES and len(self.lines) > 1):
            self.lines = self.lines[::2]
            self.every *= 2


class Allowance:
    """The number of lines that may be shown now. Unused allowance is saved up for a burst."""

    def __init__(self) -> None:
        self._saved = float(BURST)
        self._at = time.monotonic()

    def now(self) -> int:
        """The number of lines that may be shown now."""
        before, self._at = self._at, time.monotonic()
        self._saved = min(BURST, self._saved + LINES_A_SECOND * (self._at - before))
        return max(FEW, int(self._saved))

    def spend(self, lines: int) -> None:
        """Take note of the number of shown lines."""
        self._saved = max(0.0, self._saved - lines)


@dataclass(frozen=True)
class Wanted:
    """The filter of a page, so that under load the sample is taken from matching lines.

    The page itself filters more exactly, by the member that has a text.
    """

    contains: tuple[str, ...] = ()
    """Texts that a line must contain, all of them, in any case."""
    watched: tuple[bytes, ...] = ()
    """A line that contains any of these is never left out."""

    def pick(self, lines: list[bytes]) -> list[bytes]:
        """The lines that contain all texts, without watched ones."""
        if self.watched:
            lines = [line for line in lines if not self.is_watched(line)]
        if not self.contains:
            return lines
        lowered = ((line, line.decode().lower()) for line in lines)
        return [line for line, text in lowered if all(part in text for part in self.contains)]

    def is_watched(self, line: bytes) -> bool:
        """Whether the page waits for this line."""
        return any(part in line for part in self.watched)


@dataclass
class Taken:
    """The new lines of one kind since the last look."""

    sample: Sample
    count: int = 0
    """The number of all lines, matching or not."""
    watched: list[bytes] = field(default_factory=list)


class Tail:
    """The journals under a root from their current ends on, and new journals."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # A journal whose writer has ended gets no more lines.
        found = ((journal, JournalReader(journal.path, _shortly_before_the_end(journal))) for journal in journals(root))
        self._readers = {journal: reader if reader.live else None for journal, reader in found}
        self.recent = _latest(lines[-RECENT_LINES:] for lines in self.batches())
        """The last lines before now, oldest first."""

    def batches(self) -> Iterator[list[bytes]]:
        """All new lines since the last call."""
        self._readers = {
            journal: self._readers[journal] if journal in self._readers else JournalReader(journal.path)
            for journal in journals(self._root)
        }
        for journal, reader in self._readers.items():
            while reader and (lines := reader.lines()):
                yield lines
            if reader and reader.finished():
                self._readers[journal] = None


class Feed:
    """Events and rejections, from now on."""

    def __init__(self, data_dir: Path) -> None:
        self._tails = {kind: Tail(data_dir / kind) for kind in (EVENTS, REJECTIONS)}
        self.recent = {kind: tail.recent for kind, tail in self._tails.items()}
        self.wanted = Wanted()
        self._allowances = {kind: Allowance() for kind in self._tails}

    def take(self) -> dict[str, Taken]:
        """The new lines since the last call that are `wanted`, by kind."""
        taken: dict[str, Taken] = {}
        for kind, tail in self._tails.items():
            allowance = self._allowances[kind]
            found = taken[kind] = Taken(Sample(allowance.now()))
            for lines in tail.batches():
                wanted = self.wanted  # another thread may replace it, but does so before its line is written
                found.count += len(lines)
                found.watched += filter(wanted.is_watched, lines)
                found.sample.offer(wanted.pick(lines))
            allowance.spend(len(found.sample.lines))
        return taken


def _shortly_before_the_end(journal: JournalDirectory) -> int:
    """An offset in the last segment. If it is within a line, the reader skips the rest of that line."""
    segments = journal.segments()
    return max(segments[-1].start, segments[-1].end - RECENT_BYTES) if segments else 0


def _latest(batches: Iterable[list[bytes]]) -> list[bytes]:
    lines = [line for batch in batches for line in batch]
    return sorted(lines, key=lambda line: str(json.loads(line).get("receivedAt")))[-RECENT_LINES:]
