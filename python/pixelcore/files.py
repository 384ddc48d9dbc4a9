"""Operations on pixelcore's own files. They are for its user alone, never follow a symbolic link, and replace files atomically."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX
NEW = ".new"
"""The suffix of a file that will replace another one."""


def try_lock(file: int, kind: int) -> bool:
    """Take a ``flock`` of an open file, or change its kind, without waiting; False if another process has it.

    The kernel releases it when the process ends.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_own(path: Path, flags: int) -> int:
    """Open a file, made for this user alone, and refuse a symbolic link. Raises ``OSError``."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def make_directory(path: Path) -> None:
    """Make a directory for this process's user alone, or check that it is not a symbolic link. Raises ``OSError``."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700, parents=True)
    os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))


def replace(path: Path, text: str, *, durable: bool = False) -> None:
    """Make or replace a file atomically, and make its directory. No other user may read it.

    With ``durable``, the file is on the device when this returns. Raises ``OSError``.
    """
    make_directory(path.parent)
    new = path.parent / f"{os.getpid()}{NEW}"
    new.unlink(missing_ok=True)  # of an earlier process with the same id
    with open(open_own(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
    if durable:
        sync_directory(path.parent)


def remove_own(directory: Path, names: re.Pattern[str], *, older_than: float = 0.0) -> None:
    """Remove pixelcore's files with such names, and no others. With ``older_than``, only those older than so many seconds.

    Raises ``OSError``.
    """
    now = time.time()
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if names.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    if now - entry.stat(follow_symlinks=False).st_mtime >= older_than:
                        Path(entry.path).unlink()


def sync_directory(directory: Path) -> None:
    """Flush the names in a directory to the device. Raises ``OSError``."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
