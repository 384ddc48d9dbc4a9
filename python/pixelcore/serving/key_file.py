"""The key file of the pipelines: what it says, and in a worker read again when it changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import watchfiles

from .. import processes
from .._core import Collector, check_keys
from ..datadir import LAST_GOOD_KEYS, RATES
from ..errors import SettingsError
from ..files import replace
from ..settings import variable
from .rate_limits import ROUND_SECONDS, RateShares

log = logging.getLogger("pixelcore")


def count(file: Path) -> int:
    """How many keys a key file has. Raises `SettingsError` with the line and what is wrong with it."""
    try:
        return check_keys(read(file))
    except ValueError as error:
        raise wrong(file, str(error)) from None


def read(file: Path) -> str:
    """The text of a key file. Raises `SettingsError`."""
    try:
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
    """Keeps a collector's keys those of the key file, and shares their rate limits with the gateway's other workers.

    A file that becomes wrong is logged, and the previous keys stay, also in a worker that takes the place of another
    one. Raises `SettingsError` where there are none, since the server has just begun.
    """

    def __init__(self, file: Path, data_dir: Path, collector: Collector) -> None:
        super().__init__(name="key file watcher", daemon=True)
        self._file = file
        self._collector = collector
        self._stopping = threading.Event()
        self._last_good = LastGoodKeys(data_dir / LAST_GOOD_KEYS)
        self._shares = RateShares(data_dir / RATES, collector)
        self._seen: int | None = None
        self._status = _status(file)
        try:
            self._update()
        except SettingsError as error:
            if (text := self._last_good.read()) is None:
                self._shares.leave()
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
            self._shares.exchange()

    def stop(self) -> None:
        """Stop watching, and leave this worker's shares to the others."""
        self._stopping.set()
        if self.is_alive():
            self.join()
        self._shares.leave()

    def _looks(self) -> Iterator[bool]:
        """Whether there was a change next to the file, at least once in `ROUND_SECONDS`, until the end.

        The directory is watched, not the file: editors and Kubernetes put another one in its place. Where a change
        makes no event, as on network file systems and behind a symlink to elsewhere, the file's status tells of it.
        """
        try:
            for changes in watchfiles.watch(
                self._file.parent,
                watch_filter=None,
                # A file that is written in several steps is taken up after the last one.
                step=100,
                debounce=400,
                rust_timeout=int(ROUND_SECONDS * 1000),
                yield_on_timeout=True,
                stop_event=self._stopping,
                raise_interrupt=False,
                recursive=False,
            ):
                yield bool(changes)
        except (OSError, RuntimeError) as error:
            log.warning("%s is not watched, but looked at every second: %s", self._file.parent, error)
        while not self._stopping.wait(ROUND_SECONDS):
            yield False

    def _update(self) -> None:
        """Take up what the file says, unless it says what it did. Raises `SettingsError` if it is wrong."""
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

    def _take(self, text: str) -> None:
        try:
            keys = self._collector.set_keys(text, self._shares.share)
        except ValueError as error:
            raise wrong(self._file, str(error)) from None
        log.info("keys from %s: %d", self._file, keys)

    def _complain(self, error: SettingsError) -> None:
        log.error("%s; the previous keys stay", error)


class LastGoodKeys:
    """What the key file last said that was right, for workers that begin while it is wrong.

    Without it, one worker's end would take the whole server down then. It is for one server process alone: a new one
    should say at once what is wrong.
    """

    def __init__(self, directory: Path) -> None:
        server = processes.server()
        # Process ids come again, in containers at once.
        self._file = directory / f"{server}-{processes.started_at(server)}.toml"

    def read(self) -> str | None:
        """The text, if there is one."""
        try:
            return self._file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, text: str) -> None:
        """Keep a text instead of the previous one, and of those that other servers left."""
        try:
            replace(self._file, text)
            for path in self._file.parent.iterdir():
                if path.suffix == ".toml" and path != self._file:
                    path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("a worker that begins while the key file is wrong will not have these keys: %s", error)


def _status(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
