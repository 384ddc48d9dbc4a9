"""The journals' directories. This is the only Python module that knows the names in them.

::

    events/                         a root: all journals of one kind
      019a3c1e-…/                   one journal, one worker's life; a UUIDv7, so names sort by age
        00000000000000000000.ndjson a segment, named by the offset at which it begins
        lock                        the writer's flock, held while it lives
        forward.lock                the flock of the process that ships the journal
        committed                   the offset below which every event is in its topic
        shipped                     a mark: everything is shipped, and the journal is only kept
        folded                      the names of its inputs, which still exist, so it is not shipped yet

The core writes and reads the segments, through `pixelcore.Journal` and `JournalReader`. ``rust/core/src/journal/mod.rs`` describes
the format on the disk and all operations. Any file may be deleted at any moment, by the process that ships the journal.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ._core import Journal, JournalReader
from .files import EXCLUSIVE, open_own, try_lock

EVENTS = "events"
REJECTIONS = "rejections"
OPENINGS = "openings"
"""Days of openings, as requests leave them (contract, section 9). They are folded into `LAST_OPENS`, and never shipped."""
LOADS = "loads"
"""Loads to be counted. They are folded into `COUNTS`, and never shipped."""
LAST_OPENS = "last-opens"
COUNTS = "counts"
REDUCED = (LAST_OPENS, COUNTS)
SHIPPED = (EVENTS, REJECTIONS, *REDUCED)
"""The kinds of journals that may be shipped."""

_IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a UUID
_SEGMENT = re.compile(r"[0-9]{20}\.ndjson")
_FORWARD_LOCK = "forward.lock"
_COMMITTED = "committed"
_SHIPPED = "shipped"
_SETTLED_NS = 2_000_000_000  # file systems with a coarser clock are not for journals
FOLDED = "folded"
"""The file of a folded journal with the names of its inputs, as long as they exist."""


class Segment(NamedTuple):
    """A segment, as of the moment of listing."""

    start: int
    """The offset of its first byte."""
    size: int
    path: Path

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.start + self.size


class Signature(NamedTuple):
    """When a journal's files changed, in nanoseconds, 0 where there are none, and how large its last one is."""

    directory: int
    committed: int
    size: int

    @property
    def is_settled(self) -> bool:
        """Whether the next change will show: in the same tick of the clock it would not."""
        return time.time_ns() - max(self.directory, self.committed) > _SETTLED_NS


@dataclass(frozen=True, order=True)
class JournalDirectory:
    """One journal on the disk. Its writer may live, and its files may be deleted at any moment."""

    path: Path

    @property
    def id(self) -> str:
        """The journal's identity."""
        return self.path.name

    @property
    def kind(self) -> str:
        """The kind of the journal, such as `EVENTS`."""
        return self.path.parent.name

    @property
    def is_live(self) -> bool:
        """Whether its writer lives, that is, holds its lock."""
        return JournalReader(self.path).live

    @property
    def is_unfinished(self) -> bool:
        """Whether its inputs still exist. If it were shipped and deleted first, they would be folded again."""
        return (self.path / FOLDED).exists()

    def segments(self) -> list[Segment]:
        """The existing segments, by offset."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                if _SEGMENT.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):  # it was shipped and deleted
                        found.append(Segment(int(entry.name[:20]), entry.stat().st_size, Path(entry.path)))
        return sorted(found)

    def signature(self, last: Path | None) -> Signature:
        """What differs once anything of the journal does; ``last`` is its last segment, where there is one.

        Making, renaming and deleting files changes the directory's time, a commit that of its note, an event the size.
        """
        path = os.fspath(self.path)
        return Signature(_modified(path), _modified(f"{path}/{_COMMITTED}"), _size(last) if last else 0)

    def start_of_last(self, size: int) -> int:
        """The offset of the last segment from which at least ``size`` bytes follow, or of the first one if there are fewer."""
        start, bytes_behind = 0, 0
        for segment in reversed(self.segments()):
            start, bytes_behind = segment.start, bytes_behind + segment.size
            if bytes_behind >= size:
                break
        return start

    @property
    def committed(self) -> int:
        """The noted offset below which every event is in its topic; 0 without a note."""
        try:
            return int((self.path / _COMMITTED).read_bytes())
        except (FileNotFoundError, ValueError):  # a power cut may leave it empty
            return 0

    def commit(self, offset: int) -> None:
        """Note that every event below ``offset`` is in its topic. Raises ``OSError``."""
        file = open_own(self.path / _COMMITTED, os.O_WRONLY | os.O_CREAT)
        try:
            # In place, without truncation, so that no reader sees half of it.
            os.pwrite(file, f"{offset:020}".encode(), 0)
        finally:
            os.close(file)

    @property
    def shipped_at(self) -> float | None:
        """When the journal was shipped to its end, in Unix seconds; None if it is not yet. Raises ``OSError``."""
        try:
            return (self.path / _SHIPPED).stat().st_mtime
        except FileNotFoundError:
            return None

    def mark_shipped(self) -> None:
        """Mark the journal as shipped to its end. Raises ``OSError``."""
        file = open_own(self.path / _SHIPPED, os.O_WRONLY | os.O_CREAT)
        try:
            os.utime(file)
        finally:
            os.close(file)

    def claim(self) -> int | None:
        """Lock the journal for shipping. Returns a descriptor that holds the lock until it is closed; None if another process has it.

        Raises ``OSError``, and ``FileNotFoundError`` if the journal does not exist.
        """
        file = open_own(self.path / _FORWARD_LOCK, os.O_RDWR | os.O_CREAT)
        if try_lock(file, EXCLUSIVE):
            return file
        os.close(file)
        return None

    def delete(self) -> None:
        """Delete the journal's files, and its directory unless it has foreign files. Raises `pixelcore.JournalError`."""
        JournalReader(self.path).delete_journal()


def adopt(root: Path, lines: Path) -> JournalDirectory:
    """Turn a file of lines into a journal. No step loses or repeats a line. Raises ``OSError``."""
    with Journal(root) as life:
        # A unique name; nothing is ever written to this journal.
        journal = JournalDirectory(root / life.id)
    journal.path.mkdir(mode=0o700)
    lock = journal.claim()  # so that no process mistakes the empty journal for a shipped one
    try:
        lines.rename(journal.path / f"{0:020}.ndjson")
    finally:
        if lock is not None:
            os.close(lock)
    return journal


def journals(root: Path, but: Container[str] = ()) -> list[JournalDirectory]:
    """The journals under a root, oldest first, without those with these ids. Any other name is foreign, or a journal in the making."""
    try:
        names = sorted(name for name in os.listdir(root) if name not in but and _IDENTITY.fullmatch(name))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [JournalDirectory(root / name) for name in names]


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 (of thousands of journals at a time)
    except FileNotFoundError:
        return 0


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0
