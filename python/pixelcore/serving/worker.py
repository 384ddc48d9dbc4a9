"""What one worker process holds: its journals and their collector, the housekeeper, the keys, and the forwarder."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

from .. import processes
from .._core import Journal
from ..datadir import DataDirLock
from ..errors import JournalError, SettingsError
from ..journals import EVENTS, REJECTIONS
from ..observing import counters
from ..observing import log as logging_setup
from ..settings import Settings
from .collector import collector
from .group_commit import Answer, GroupCommit
from .housekeeping import Housekeeper
from .safety import OutcomeReport, Safety

log = logging.getLogger("pixelcore")

SWITCH_SECONDS = 0.0002
"""A request waits at most so long for the GIL when the forwarder has it. Python's own 5 ms are as long as a batch takes."""


class Worker:
    """One worker's life, from start to stop."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, answer: Answer) -> None:
        """Begin. ``answer`` answers requests that wait for a flush. Raises `SettingsError`."""
        logging_setup.configure(settings)
        self._drain_seconds = settings.drain_seconds
        self._stopping = threading.Event()
        self._lock = DataDirLock(settings.data_dir, processes.server())
        self._journals = _begin_journals(settings)
        counts = counters.begin()
        is_grouped = settings.fsync == "always"
        collecting = collector(settings, *self._journals, counts, group_commit=is_grouped)

        # What a request needs.
        self.collect = collecting.collect
        self.asks_origin = settings.keys_file is not None
        self.asks_proxies = bool(settings.trusted_proxies)
        self.debug_header = settings.debug_header
        self.group_commit = GroupCommit(collecting, loop, answer) if is_grouped else None

        self._safety = Safety()
        self.failed = self._safety.lost
        self._key_watcher = None
        if settings.keys_file is not None:
            from .key_file import KeyFileWatcher

            self._key_watcher = KeyFileWatcher(settings.keys_file, settings.data_dir, collecting)
            self._key_watcher.start()
        self._forwarder = None
        if settings.ships:
            # librdkafka is worth its memory only where there is a Kafka.
            from ..shipping.forwarder import Forwarder

            self._forwarder = Forwarder(settings, own=self._journals)
            sys.setswitchinterval(SWITCH_SECONDS)
            self._forwarder.start()
        self._report = OutcomeReport(counts)
        # What is left to ship does not keep a successor from the data directory.
        leave = self._lock.release
        self._housekeeper = Housekeeper(settings, collecting, self._journals, self._safety, self._report, leave)
        self._housekeeper.start()

    def health(self) -> tuple[int, str]:
        """Whether this process is worth keeping: (status, why)."""
        if not self._stopping.is_set():
            if self._forwarder is not None and not self._forwarder.is_alive():
                return 503, "the forwarder has stopped: see the log\n"
            if self._key_watcher is not None and not self._key_watcher.is_alive():
                return 503, "the key file is not looked at any more: see the log\n"
        return 200, "ok\n"

    def readiness(self) -> tuple[int, str]:
        """Whether new events are safe here: (status, why). Kafka does not matter: the journal keeps them."""
        if self._stopping.is_set():
            return 503, "stopping\n"
        if (failure := self._safety.failure) is not None:
            return 503, f"events are being lost: {failure}\n"
        return 200, "ok\n"

    def stop(self) -> None:
        """Finish: flush, ship what is left within the drain time, release the journals."""
        self._stopping.set()
        self._housekeeper.stop()
        if self._key_watcher is not None:
            self._key_watcher.stop()
        if self.group_commit is not None:
            self.group_commit.stop()
        for journal in self._journals:
            try:
                journal.close()
            except JournalError as error:
                log.error("closing a journal: %s", error)
        if self._forwarder is not None:
            self._forwarder.stop(self._drain_seconds)
        self._report.report()
        self._lock.release()


def _begin_journals(settings: Settings) -> tuple[Journal, Journal]:
    """The journals of this life: of events, and of rejections."""
    root, segment_bytes = settings.data_dir, settings.journal_segment_bytes
    try:
        events = Journal(root / EVENTS, segment_bytes=segment_bytes, max_bytes=settings.journal_max_bytes)
        rejections = Journal(
            root / REJECTIONS,
            segment_bytes=segment_bytes,
            max_bytes=settings.rejected_max_bytes,
            when_full="drop_oldest",
        )
    except JournalError as error:
        raise SettingsError(f"PIXELCORE_DATA_DIR: {error}") from None
    return events, rejections
