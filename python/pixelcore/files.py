"""Files that several processes share: locked with ``flock``, and replaced in one step."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX


def try_lock(file: int, kind: int) -> bool:
    """Take a lock of an open file, or change its kind, without waiting. The kernel releases it when the process ends."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replace(path: Path, text: str, *, durable: bool = False) -> None:
    """Make or replace a file in one step, with its directory. No other user may read it.

    With ``durable`` it is on the device when this returns. Raises ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.parent / f"{os.getpid()}.new"
    with open(new, "w", encoding="utf-8", opener=_private) as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
    if durable:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Flush the names in a directory to the device. Raises ``OSError``."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
