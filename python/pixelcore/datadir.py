"""The data directory: one root of journals for events, one for rejections, and what workers tell each other."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import platform
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import SettingsError

log = logging.getLogger("pixelcore")

_IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a UUID

EVENTS = "events"
REJECTIONS = "rejections"

LOCK = "gateway.lock"
PATIENCE_SECONDS = 5.0
"""For workers whose server was killed: they notice within a second."""


def journals(root: Path) -> list[Path]:
    """The journals under a root, oldest first. Any other name is somebody else's, or a journal in the making."""
    return sorted(path for path in root.iterdir() if _IDENTITY.fullmatch(path.name)) if root.is_dir() else []


def write(path: Path, text: str) -> None:
    """Make or replace a file in one step, with its directory. No other user may read it. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.parent / f"{os.getpid()}.new"
    with open(new, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    new.replace(path)


class Hold:
    """A gateway's hold on its data directory: a ``flock`` that the processes of one server share, and nobody else has.

    The lock's file says which server that is. Whoever finds the lock free may write itself down; whoever finds itself
    written down may share the lock. Nothing of that outlives the processes, whatever ends them.
    """

    def __init__(self, root: Path, server: int, patience: float = PATIENCE_SECONDS) -> None:
        """Take hold for the server process ``server``, waiting ``patience`` seconds for another one to let go.

        Raises `SettingsError` that names who has the directory.
        """
        self._path = root / LOCK
        self._file: int | None = None
        ours = _process(server)
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
        # A fork takes hold itself: what it inherits must not outlive the hold of who opened it.
        os.register_at_fork(after_in_child=self._close)

    def release(self) -> None:
        """Let go. Whoever is the last to do so leaves no file behind."""
        if self._file is not None:
            if _flock(self._file, fcntl.LOCK_EX) and self._is_named(self._file):
                self._path.unlink(missing_ok=True)
            self._close()

    def _try(self, ours: str) -> str | None:
        """Take hold; or who has it."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        theirs = _read(self._file) if _flock(self._file, fcntl.LOCK_SH) else None
        if theirs != ours and _flock(self._file, fcntl.LOCK_EX):
            # In place and never cut off, so that a full disk is no obstacle once the file is there.
            os.pwrite(self._file, f"{ours:{_WIDTH}}\n".encode(), 0)
            # The way from one kind of lock to the other is not atomic: what is there counts.
            theirs = _read(self._file) if _flock(self._file, fcntl.LOCK_SH) else None
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
def held(root: Path) -> Iterator[None]:
    """Hold a data directory for this process's server. Raises `SettingsError`."""
    hold = Hold(root, os.getpid())
    try:
        yield
    finally:
        hold.release()


_WIDTH = 200


def _process(pid: int) -> str:
    """A process by a name that no other one has, not in another container either: a number alone comes back."""
    try:
        # The second field is the name in parentheses, which may hold spaces and parentheses itself.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # not Linux, or it is gone
        started = "?"
    return f"process {pid} of host {platform.node()}, started at tick {started}"[:_WIDTH]


def _read(file: int) -> str:
    return os.pread(file, _WIDTH, 0).decode(errors="replace").strip()


def _flock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
