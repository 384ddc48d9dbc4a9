"""The journals' directories. This is the only Python module that knows the names in them.

::

    events/                         a root: all journals of one kind
      019a3c1e-…/                   one journal, one worker's life; a UUIDv7, so names sort by age
        00000000000000000000.ndjson a segment, named by the offset that it begins at
        lock                        the writer's flock, held while it lives
        forward.lock                the flock of the process that ships the journal
        committed                   the offset below which every event is in the topic
        shipped                     there is nothing left to ship; the journal is only kept

Segments are written and read by the core (``rust/core/src/journal``), through `pixelcore.Journal` and `JournalReader`.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ._core import JournalReader
from .files import EXCLUSIVE, try_lock

EVENTS = "events"
REJECTIONS = "rejections"

_IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a UUID
_SEGMENT = re.compile(r"[0-9]{20}\.ndjson")
_FORWARD_LOCK = "forward.lock"
_COMMITTED = "committed"
_SHIPPED = "shipped"


class Segment(NamedTuple):
    """A segment as it was when it was looked at."""

    start: int
    """The offset of its first byte."""
    size: int
    path: Path

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.start + self.size


@dataclass(frozen=True, order=True)
class JournalDirectory:
    """One journal on the disk, whose writer may live, and whose files may be deleted at any moment."""

    path: Path

    @property
    def id(self) -> str:
        """The journal's identity."""
        return self.path.name

    @property
    def kind(self) -> str:
        """`EVENTS` or `REJECTIONS`."""
        return self.path.parent.name

    @property
    def is_live(self) -> bool:
        """Whether its writer lives."""
        return JournalReader(self.path).live

    def segments(self) -> list[Segment]:
        """The segments that are there, by offset."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                if _SEGMENT.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):  # it was shipped, and deleted
                        found.append(Segment(int(entry.name[:20]), entry.stat().st_size, Path(entry.path)))
        return sorted(found)

    def start_of_last(self, size: int) -> int:
        """The offset of the segment from which on there are ``size`` bytes, or of the first one where there are fewer."""
        start, bytes_behind = 0, 0
        for segment in reversed(self.segments()):
            start, bytes_behind = segment.start, bytes_behind + segment.size
            if bytes_behind >= size:
                break
        return start

    @property
    def committed(self) -> int:
        """The offset below which every event is in the topic, as far as it was noted; 0 without a note."""
        try:
            return int((self.path / _COMMITTED).read_bytes())
        except (FileNotFoundError, ValueError):  # a power cut may leave it empty
            return 0

    def commit(self, offset: int) -> None:
        """Note that every event below ``offset`` is in the topic. Raises ``OSError``."""
        file = os.open(self.path / _COMMITTED, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, f"{offset:020}".encode(), 0)  # never seen half: it is not cut off before
        finally:
            os.close(file)

    @property
    def shipped_at(self) -> float | None:
        """When the journal was shipped to its end, in Unix seconds; None where that is still to be done. Raises ``OSError``."""
        try:
            return (self.path / _SHIPPED).stat().st_mtime
        except FileNotFoundError:
            return None

    def mark_shipped(self) -> None:
        """Note that there is nothing left to ship. Raises ``OSError``."""
        (self.path / _SHIPPED).touch()

    def claim(self) -> int | None:
        """Take the journal for shipping: a descriptor that holds the lock until it is closed; None where another process has it.

        Raises ``OSError``, ``FileNotFoundError`` where there is no such journal.
        """
        file = os.open(self.path / _FORWARD_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        if try_lock(file, EXCLUSIVE):
            return file
        os.close(file)
        return None

    def delete(self) -> None:
        """Delete the journal with all its files. Raises `pixelcore.JournalError`."""
        JournalReader(self.path).delete_journal()


def journals(root: Path) -> list[JournalDirectory]:
    """The journals under a root, oldest first. Any other name is somebody else's, or a journal in the making."""
    try:
        return sorted(JournalDirectory(path) for path in root.iterdir() if _IDENTITY.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
