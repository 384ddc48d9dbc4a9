"""The key file: its contents, and a watcher that reads it again in a worker when it changes.

The core parses the file. A file that becomes wrong changes nothing, and the last good one is kept for workers that start later.
"""

from __future__ import annotations

import logging
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import watchfiles

from .. import processes, terms
from .._core import Collector, check_keys, release_memory
from ..datadir import LAST_GOOD_KEYS, RATES
from ..errors import SettingsError
from ..files import remove_own, replace
from ..settings import variable
from ..terms import Terms
from .persons import Persons
from .rate_limits import RateLimits

log = logging.getLogger("pixelcore")

LOOK_SECONDS = 1.0
_LAST_GOOD = re.compile(r"\d+-(\d+|\?)\.toml")


def count(file: Path) -> int:
    """The number of keys in a key file. Raises `SettingsError` with the line and its error."""
    try:
        return check_keys(read(file))
    except ValueError as error:
        raise wrong(file, str(error)) from None


def said(file: Path) -> dict[str, Terms]:
    """The terms of each pipeline that states any: what it keeps of whom. Raises `SettingsError` like `count`."""
    try:
        found = terms.read(read(file))
    except ValueError as error:
        raise wrong(file, str(error)) from None
    return {pipeline: kept for pipeline, kept in found.items() if kept != terms.UNSAID}


def read(file: Path) -> str:
    """The text of a key file. Raises `SettingsError`."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a device may have no end, and a pipe no beginning
            raise wrong(file, "is not a regular file")
        return file.read_text("utf-8")
    except OSError as error:
        raise wrong(file, error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise wrong(file, f"line {line}: is not UTF-8") from None


def wrong(file: Path, what: str) -> SettingsError:
    """The error of a key file."""
    return SettingsError(f"{variable('keys_file')}: {file}: {what}")


class KeyFileWatcher(threading.Thread):
    """Keeps a collector's keys equal to the key file's.

    A file that becomes wrong is logged, and the previous keys stay in force, also in a worker that replaces another one. Raises
    `SettingsError` if there are no previous keys, because the server has just started.
    """

    def __init__(self, file: Path, data_dir: Path, collector: Collector, persons: Persons) -> None:
        super().__init__(name="key file watcher", daemon=True)
        self._file = file
        self._persons = persons
        self._collector = collector
        self._stopping = threading.Event()
        self._last_good = LastGoodKeys(data_dir / LAST_GOOD_KEYS)
        self._limits = RateLimits(data_dir / RATES)
        self._seen: int | None = None
        self._status = _status(file)
        try:
            self._update()
        except SettingsError as error:
            if (text := self._last_good.read()) is None:
                raise
            self._take(text)
            self._complain(error)

    def run(self) -> None:
        for changed in self._looks():
            status = _status(self._file)
            if changed or status != self._status:
                self._status = status
                try:
                    self._update()
                except SettingsError as error:
                    self._complain(error)
            self._persons.refresh()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def _looks(self) -> Iterator[bool]:
        """Whether something changed next to the file, at least once per `LOOK_SECONDS`, until the end.

        The directory is watched and not the file, because editors and Kubernetes replace the file. Some changes make no event,
        such as those on network file systems or at the target of a symlink elsewhere. The file's status shows them.
        """
        try:
            for changes in watchfiles.watch(
                self._file.parent,
                watch_filter=None,
                # A file that is written in several steps is read after the last one.
                step=100,
                debounce=400,
                rust_timeout=int(LOOK_SECONDS * 1000),
                yield_on_timeout=True,
                stop_event=self._stopping,
                raise_interrupt=False,
                recursive=False,
            ):
                yield bool(changes)
        except (OSError, RuntimeError) as error:
            log.warning("%s cannot be watched and is polled every second instead: %s", self._file.parent, error)
        while not self._stopping.wait(LOOK_SECONDS):
            yield False

    def _update(self) -> None:
        """Apply the file if its contents have changed. Raises `SettingsError` if it is wrong."""
        text, trouble = "", None
        try:
            text = read(self._file)
        except SettingsError as error:
            trouble = error
        seen = hash(text or str(trouble))
        if seen == self._seen:
            return
        self._seen = seen
        if trouble is not None:
            raise trouble
        self._take(text)
        self._last_good.write(text)
        del text
        release_memory()

    def _take(self, text: str) -> None:
        try:
            self._persons.heed(text)
            while (keys := self._collector.set_keys(text, self._limits.buckets)) is None:
                self._limits.grow(check_keys(text))
        except ValueError as error:
            raise wrong(self._file, str(error)) from None
        log.info("keys from %s: %d", self._file, keys)

    def _complain(self, error: SettingsError) -> None:
        log.error("%s; the previous keys stay in force", error)


class LastGoodKeys:
    """The last valid contents of the key file, for workers that start while the file is wrong.

    Without it, the end of one worker would then end the whole server. It belongs to one server process: a new server
    reports a wrong file at once.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / f"{processes.server_id()}.toml"

    def read(self) -> str | None:
        """The text; None if there is none."""
        try:
            return self._file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, text: str) -> None:
        """Replace the previous text, and delete those of earlier servers."""
        try:
            remove_own(self._file.parent, _LAST_GOOD)
            replace(self._file, text)
        except OSError as error:
            log.warning("a worker that starts while the key file is wrong will not have these keys: %s", error)


def _status(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
