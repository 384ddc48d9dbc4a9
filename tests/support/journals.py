"""Helpers for the tests of the journal: numbered lines, and journals of them."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import json
from collections.abc import Iterator
from pathlib import Path

from pixelcore import Journal, JournalReader

MANY = 1_000_000


def event(number: int, size: int = 0) -> bytes:
    """A numbered line of at least ``size`` bytes."""
    return json.dumps({"n": number, "x": "x" * max(0, size - 20)}).encode()


def numbers(lines: list[bytes]) -> list[int]:
    return [json.loads(line)["n"] for line in lines]


def read_all(reader: JournalReader) -> list[bytes]:
    """All lines, read in steps of arbitrary size."""
    lines: list[bytes] = []
    while more := reader.lines(1000, 1 << 20):
        lines += more
    return lines


def segments(journal: Journal | Path) -> list[Path]:
    path = Path(journal.path) if isinstance(journal, Journal) else journal
    return sorted(path.glob("*.ndjson"))


def start_of(segment: Path) -> int:
    return int(segment.stem)


def total(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("*/*.ndjson"))


def dead(root: Path, count: int, size: int = 100, segment_bytes: int = 1000) -> Journal:
    """An orphaned journal of so many events."""
    with Journal(root, segment_bytes=segment_bytes) as journal:
        for number in range(count):
            journal.append(event(number, size))
    return journal


@contextlib.contextmanager
def small_file_system(path: Path, size: str) -> Iterator[bool]:
    """An empty file system of that size (such as ``64k``) at ``path``, if this process may mount one."""
    path.mkdir(parents=True)
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    options = f"size={size}".encode()
    mounted = hasattr(libc, "mount") and libc.mount(b"tmpfs", bytes(path), b"tmpfs", 0, options) == 0
    try:
        yield mounted
    finally:
        if mounted:
            libc.umount2(bytes(path), 2)  # MNT_DETACH
