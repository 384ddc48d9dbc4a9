"""The data directory: whose it is, and the names of what is in it.

::

    gateway.lock            the flock of the gateway that has the directory
    events/, rejections/    roots of journals, see `journals`
    undeliverable.ndjson    events that no broker takes
    keys/                   the last key file that was right
    rates/                  what each worker was asked for, by key
    metrics/                the workers' counters
    replay/                 what ``pixelcore replay`` has replayed
"""

from __future__ import annotations

import errno
import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import processes
from .errors import SettingsError
from .files import EXCLUSIVE, SHARED, try_lock

log = logging.getLogger("pixelcore")

UNDELIVERABLE = "undeliverable.ndjson"
LAST_GOOD_KEYS = "keys"
RATES = "rates"
COUNTERS = "metrics"
REPLAY = "replay"

LOCK = "gateway.lock"
PATIENCE_SECONDS = 5.0
"""For workers whose server was killed: they notice within a second."""


class DataDirLock:
    """A gateway's lock of its data directory: a ``flock`` that the processes of one server share, and nobody else has.

    The lock's file names the server. A process that finds the lock free writes its own server's name into the file, and one that
    finds its server's name there shares the lock. The kernel releases the lock when the processes end, whatever ends them.
    """

    def __init__(self, root: Path, server: int, patience: float = PATIENCE_SECONDS) -> None:
        """Lock for the server process ``server``, waiting ``patience`` seconds for another gateway to release the directory.

        Raises `SettingsError` that names the process that has the directory.
        """
        self._path = root / LOCK
        self._file: int | None = None
        ours = processes.name_of(server)[:_WIDTH]
        deadline = time.monotonic() + patience
        try:
            root.mkdir(0o700, parents=True, exist_ok=True)  # people are in there
            while (theirs := self._try(ours)) is not None:
                if time.monotonic() > deadline:
                    raise SettingsError(f"PIXELCORE_DATA_DIR: {root} is another gateway's: {theirs.partition(',')[0]}")
                # At different times, or two that find the lock free might keep each other from it.
                time.sleep(random.uniform(0.02, 0.1))
        except OSError as error:
            self._close()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise SettingsError(f"PIXELCORE_DATA_DIR: {error}") from None
            # The GIF is answered on a full disk, too.
            log.warning("%s: %s: nothing keeps a second gateway from this directory", self._path, error.strerror)
        # A fork locks for itself: a descriptor that it inherits must not keep the lock of the process that opened it.
        os.register_at_fork(after_in_child=self._close)

    def release(self) -> None:
        """Release the lock. The last process to do so deletes the file."""
        if self._file is not None:
            if try_lock(self._file, EXCLUSIVE) and self._is_named(self._file):
                self._path.unlink(missing_ok=True)
            self._close()

    def _try(self, ours: str) -> str | None:
        """Take the lock; or who has it."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        theirs = _read(self._file) if try_lock(self._file, SHARED) else None
        if theirs != ours and try_lock(self._file, EXCLUSIVE):
            # In place and never cut off, so that a full disk is no obstacle once the file is there.
            os.pwrite(self._file, f"{ours:{_WIDTH}}\n".encode(), 0)
            # The way from one kind of lock to the other is not atomic: what is there counts.
            theirs = _read(self._file) if try_lock(self._file, SHARED) else None
        if theirs == ours and self._is_named(self._file):
            return None
        theirs = _read(self._file)
        self._close()
        return theirs

    def _is_named(self, file: int) -> bool:
        """Whether the file is still the one in the directory: the last to let go deletes it."""
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Lock a data directory for this process's server. Raises `SettingsError`."""
    lock = DataDirLock(root, os.getpid())
    try:
        yield
    finally:
        lock.release()


_WIDTH = 200


def _read(file: int) -> str:
    return os.pread(file, _WIDTH, 0).decode(errors="replace").strip()
