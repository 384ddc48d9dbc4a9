"""The data directory: its owner, its lock, and the names of the files in it.

::

    gateway.lock            the flock of the gateway that has the directory
    gateway.url             the URL of that gateway on this machine
    events/, rejections/    roots of journals, see `journals`
    openings/, loads/       journals of reduced records until they are folded, see `folding`
    last-opens/, counts/    journals of folded records; folding.lock is held by the process that folds
    undeliverable.ndjson    events that a topic refuses; undeliverable-rejections.ndjson likewise
    keys/                   the last valid key file
    rates/                  the buckets of the keys' rate limits
    metrics/                the workers' counters
    replay/                 the state of ``pixelcore replay``
    consents/               the consent list, see `consents`
    stalls/                 the causes of stalls, one file per process that cannot ship

Invariants: one gateway has the directory at a time. All files are for pixelcore's user alone, and pixelcore never follows a
symbolic link. Files with other names belong to somebody else, and are never touched.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import processes
from .errors import SettingsError
from .files import EXCLUSIVE, SHARED, open_own, replace, try_lock
from .journals import EVENTS, LOADS, OPENINGS, REJECTIONS, SHIPPED
from .settings import Settings, variable

log = logging.getLogger("pixelcore")

UNDELIVERABLE = {"events": "undeliverable.ndjson", "rejections": "undeliverable-rejections.ndjson"}
LAST_GOOD_KEYS = "keys"
RATES = "rates"
COUNTERS = "metrics"
REPLAY = "replay"
CONSENTS = "consents"
STALLS = "stalls"
FOLDING_LOCK = "folding.lock"


def existing(root: Path, *, or_coming: bool = False) -> bool:
    """Check that a gateway has written here, for commands that only read. Raises `SettingsError` if not.

    With ``or_coming``, a missing gateway is not an error, and the result is False.
    """
    try:
        names = {entry.name for entry in root.iterdir()}
    except FileNotFoundError as error:
        names, why = set(), f"{error.strerror}; a gateway creates it at its start"
    except OSError as error:
        hint = ": only the gateway's user may read it" if isinstance(error, PermissionError) else ""
        raise SettingsError(f"PIXELCORE_DATA_DIR: {root}: {error.strerror}{hint}") from None
    else:
        why = f"no gateway has written to it: it has no {EVENTS}/"
    is_there = not names.isdisjoint({EVENTS, REJECTIONS})
    if not (is_there or or_coming):
        raise SettingsError(f"PIXELCORE_DATA_DIR: {root}: {why}")
    return is_there


LOCK = "gateway.lock"
URL = "gateway.url"
NAMES = (
    *(*SHIPPED, OPENINGS, LOADS, FOLDING_LOCK),
    *(*UNDELIVERABLE.values(), LAST_GOOD_KEYS, RATES, COUNTERS, REPLAY, CONSENTS, STALLS, LOCK, URL),
)
"""The names that pixelcore makes, replaces and deletes in the directory. It touches nothing else there."""

PATIENCE_SECONDS = 5.0
"""The wait for workers of a killed server, which notice its end within a second."""


def prepare(settings: Settings) -> None:
    """Make the data directory, or check that no other user can read its files or redirect writes to other files.

    From now on, this process makes files for its user alone. Raises `SettingsError`.
    """
    root = settings.data_dir
    os.umask(0o077)
    try:
        root.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _NO_ROOM:  # a gateway answers with the GIF also on a full disk
            return
        why = "is not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise SettingsError(f"{variable('data_dir')}: {root}: {why}") from None
    try:
        if (trouble := hazard(root)) is not None:
            raise SettingsError(f"{variable('data_dir')}: {trouble}")
        if not os.access(root, os.W_OK | os.X_OK):
            raise SettingsError(f"{variable('data_dir')}: {root}: is not writable")
        check_keys_file(settings)
        _make_private(root)
    except OSError as error:
        raise SettingsError(f"{variable('data_dir')}: {error.filename or root}: {error.strerror}") from None


def check_keys_file(settings: Settings) -> None:
    """Check that the key file is not among the files that pixelcore replaces and deletes. Raises `SettingsError`."""
    if settings.keys_file is None:
        return
    file, root = settings.keys_file.resolve(), settings.data_dir.resolve()
    if any(root / name in (file, *file.parents) for name in NAMES):
        raise SettingsError(
            f"{variable('keys_file')}: {settings.keys_file} is in a directory in which pixelcore deletes files: move it"
            " elsewhere"
        )


def hazard(root: Path) -> str | None:
    """Why an existing data directory must not be used: it, or one of pixelcore's files in it, belongs to another user.

    None if it may be used. Raises ``OSError``.
    """
    us = os.geteuid()
    # A mount point may belong to root, who can do anything in any case.
    if (owner := root.stat().st_uid) not in (us, 0):
        return f"{root} belongs to user {owner}, not to user {us} that pixelcore runs as: chown it"
    for path in _ours(root):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return f"{path} is a symbolic link, which pixelcore does not follow: move its target here, or mount it"
        if status.st_uid != us:
            return f"{path} belongs to user {status.st_uid}, not to user {us} that pixelcore runs as: chown it, or move it away"
    return None


def exposure(root: Path) -> str | None:
    """How other users could interfere with an existing data directory; None if they cannot. Raises ``OSError``."""
    writable = root.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if writable:
        who = "any user" if writable & stat.S_IWOTH else f"group {root.stat().st_gid}"
        return f"{root} is writable for {who}, who can remove and replace the files in it"
    open_ones = [path for path in _ours(root) if path.lstat().st_mode & 0o077]
    return f"{open_ones[0]} is readable for others" if open_ones and root.stat().st_mode & 0o011 else None


def _ours(root: Path) -> list[Path]:
    return [path for path in map(root.joinpath, NAMES) if os.path.lexists(path)]


def _make_private(root: Path) -> None:
    """Remove the rights of other users if this process may, and log the ones that stay."""
    status = root.stat()
    if status.st_uid == os.geteuid() and status.st_mode & 0o022:
        root.chmod(status.st_mode & ~0o022)
        log.warning("%s was writable for other users: pixelcore has removed that right", root)
    for path in _ours(root):
        if path.lstat().st_mode & 0o077:
            path.chmod(0o700 if path.is_dir() else 0o600)
    if (left := exposure(root)) is not None:
        log.warning("%s: %s", variable("data_dir"), left)


class DataDirLock:
    """A gateway's lock of its data directory: a ``flock`` that only the processes of one server share.

    The lock's file names the server. A process that finds the lock free writes its server's name into the file. A process that
    finds its server's name there shares the lock. The kernel releases the lock when the processes end, for whatever reason.
    """

    def __init__(self, root: Path, server: int, patience: float = PATIENCE_SECONDS) -> None:
        """Lock for the server process ``server``, and wait up to ``patience`` seconds for another gateway to release the directory.

        Raises `SettingsError` that names the process that has the directory.
        """
        self._path = root / LOCK
        self._file: int | None = None
        ours = processes.name_of(server)[:_WIDTH]
        deadline = time.monotonic() + patience
        try:
            while (theirs := self._try(ours)) is not None:
                if time.monotonic() > deadline:
                    raise SettingsError(
                        f"PIXELCORE_DATA_DIR: {root} is in use by another gateway: {theirs.partition(',')[0]}"
                    )
                # Random waits, because two processes that find the lock free could otherwise block each other for ever.
                time.sleep(random.uniform(0.02, 0.1))
        except OSError as error:
            self._close()
            if error.errno not in _NO_ROOM:
                raise SettingsError(f"PIXELCORE_DATA_DIR: {error}") from None
            # A gateway answers with the GIF also on a full disk.
            log.warning("%s: %s: the data directory is not locked against a second gateway", self._path, error.strerror)
        # A fork takes its own lock. An inherited descriptor must not keep the lock of the process that opened it.
        os.register_at_fork(after_in_child=self._close)

    def release(self) -> None:
        """Release the lock. The last process to do so deletes the file."""
        if self._file is not None:
            if try_lock(self._file, EXCLUSIVE) and self._is_named(self._file):
                self._path.unlink(missing_ok=True)
            self._close()

    def _try(self, ours: str) -> str | None:
        """Take the lock, and return None; otherwise return its holder."""
        self._file = open_own(self._path, os.O_RDWR | os.O_CREAT)
        theirs = _read(self._file) if try_lock(self._file, SHARED) else None
        if theirs != ours and try_lock(self._file, EXCLUSIVE):
            # The file is overwritten in place and never truncated, so an existing file works also on a full disk.
            os.pwrite(self._file, f"{ours:{_WIDTH}}\n".encode(), 0)
            # The change of the lock's kind is not atomic, so the file's contents decide.
            theirs = _read(self._file) if try_lock(self._file, SHARED) else None
        if theirs == ours and self._is_named(self._file):
            return None
        theirs = _read(self._file)
        self._close()
        return theirs

    def _is_named(self, file: int) -> bool:
        """Whether the file is still the one in the directory. The last process to release it deletes it."""
        try:
            return os.path.samestat(os.fstat(file), self._path.lstat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


@contextmanager
def locked(root: Path, url: str) -> Iterator[None]:
    """Lock a data directory for this process's server, which answers at ``url``. Raises `SettingsError`."""
    lock = DataDirLock(root, os.getpid())
    try:
        with contextlib.suppress(OSError):  # on a full disk, other commands cannot find this gateway
            replace(root / URL, url)
        yield
    finally:
        with contextlib.suppress(OSError):
            (root / URL).unlink()
        lock.release()


def served_at(root: Path) -> str | None:
    """The URL on this machine of the gateway that has a data directory; None if there is no gateway or no URL."""
    try:
        file = os.open(root / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # The file of a killed gateway is ignored.
        return None if try_lock(file, EXCLUSIVE) else (root / URL).read_text()
    except FileNotFoundError:
        return None
    finally:
        os.close(file)


_WIDTH = 200
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def _read(file: int) -> str:
    return os.pread(file, _WIDTH, 0).decode(errors="replace").strip()
