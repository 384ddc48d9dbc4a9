"""One worker process: its journals and their collector, the housekeeper, the keys, the folder, and the forwarder.

`Worker` starts these parts and stops them in order. `pixelcore.app` answers the requests. Only this module starts the forwarder.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

from .. import datadir, processes
from .._core import Journal
from ..errors import JournalError, SettingsError
from ..folding import Folder
from ..journals import EVENTS, LOADS, OPENINGS, REJECTIONS
from ..observing import counters
from ..observing import log as logging_setup
from ..settings import Settings, trusted_by_all
from .collector import collector
from .group_commit import Answer, GroupCommit
from .housekeeping import Housekeeper
from .safety import OutcomeReport, Safety

log = logging.getLogger("pixelcore")

Header = tuple[str, str]

SWITCH_SECONDS = 0.0002
"""Seconds for which a request waits at most for the GIL of the forwarder. Python's default of 5 ms is as long as a batch takes."""


class Worker:
    """The life of one worker, from start to stop."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, answer: Answer) -> None:
        """Start all parts. ``answer`` answers requests that wait for a flush. Raises `SettingsError`."""
        logging_setup.configure(settings)
        if (network := trusted_by_all(settings.trusted_proxies)) is not None:
            log.warning(
                "PIXELCORE_TRUSTED_PROXIES: %s is most of the Internet: any client can forge its address", network
            )
        self._drain_seconds = settings.drain_seconds
        self._stopping = threading.Event()
        datadir.prepare(settings)
        self._lock = datadir.DataDirLock(settings.data_dir, processes.server())
        self._journals = _begin_journals(settings)
        events, rejections, openings, loads = self._journals
        counts = counters.begin()
        is_grouped = settings.fsync == "always"
        collecting = collector(settings, events, rejections, counts, is_grouped, openings, loads)

        # The members that answering a request uses.
        self.collect = collecting.collect
        self.asks_origin = settings.keys_file is not None
        self.asks_proxies = bool(settings.trusted_proxies)
        self.parting: list[Header] = []
        """Additional headers of all answers during the handover."""
        self.plain = not settings.debug_header
        """Whether the GIF has no additional headers."""
        self.debug_header = settings.debug_header
        self.group_commit = GroupCommit(collecting, loop, answer) if is_grouped else None

        self._safety = Safety()
        self.failed = self._safety.lost
        self._key_watcher = None
        if settings.keys_file is not None:
            from .key_file import KeyFileWatcher
            from .persons import Persons

            persons = Persons(settings, collecting)
            self._key_watcher = KeyFileWatcher(settings.keys_file, settings.data_dir, collecting, persons)
            self._key_watcher.start()
        self._forwarder = None
        if settings.ships:
            # Without Kafka, librdkafka's memory is saved.
            from ..shipping.forwarder import Forwarder

            self._forwarder = Forwarder(settings, own=(events, rejections))
            sys.setswitchinterval(SWITCH_SECONDS)
            self._forwarder.start()
        self._folder = Folder(settings, openings, collecting.turn)
        self._folder.start()
        self._report = OutcomeReport(counts)
        # Shipping the rest does not keep a successor out of the data directory.
        leave = self._lock.release
        self._housekeeper = Housekeeper(settings, collecting, self._journals, self._safety, self._report, leave)
        self._housekeeper.start()

    def health(self) -> tuple[int, str]:
        """The status and text of ``/healthz``: 503 if this process should be replaced."""
        if not self._stopping.is_set():
            if self._forwarder is not None and not self._forwarder.is_alive():
                return 503, "the forwarder has stopped: see the log\n"
            if self._key_watcher is not None and not self._key_watcher.is_alive():
                return 503, "the key file is no longer watched: see the log\n"
        return 200, "ok\n"

    def readiness(self) -> tuple[int, str]:
        """The status and text of ``/readyz``: 503 unless new events are safe. Kafka does not matter, because the journal keeps them."""
        if self._stopping.is_set():
            return 503, "stopping\n"
        if (failure := self._safety.failure) is not None:
            return 503, f"events are being lost: {failure}\n"
        return 200, "ok\n"

    def headers(self, outcome: str | None, ignored: str) -> list[Header]:
        """The additional headers of the GIF if it is not `plain`, with X-Pixelcore last.

        ``outcome`` is the reason why the request became no event. ``ignored`` is the text about unknown names.
        """
        named = [("x-pixelcore", (outcome or "accepted") + ignored)] if self.debug_header else []
        return [*self.parting, *named]

    def part(self) -> None:
        """Continue to answer, but say 503 on ``/readyz``, and close each connection after its next answer."""
        self._stopping.set()
        self.parting, self.plain = [("connection", "close")], False

    def stop(self) -> None:
        """Stop in order: flush and release the journals, and ship the rest within the drain time."""
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
                log.error("a journal could not be closed: %s", error)
        self._folder.stop()
        if self._forwarder is not None:
            self._forwarder.stop(self._drain_seconds)
        self._report.report()
        self._lock.release()


def _begin_journals(settings: Settings) -> tuple[Journal, Journal, Journal, Journal]:
    """The new journals of this worker: of events, rejections, openings and loads."""
    root, segment_bytes = settings.data_dir, settings.journal_segment_bytes
    try:
        events, openings, loads = (
            Journal(root / kind, segment_bytes=segment_bytes, max_bytes=settings.journal_max_bytes)
            for kind in (EVENTS, OPENINGS, LOADS)
        )
        rejections = Journal(
            root / REJECTIONS,
            segment_bytes=segment_bytes,
            max_bytes=settings.rejected_max_bytes,
            when_full="drop_oldest",
        )
    except JournalError as error:
        raise SettingsError(f"PIXELCORE_DATA_DIR: {error}") from None
    return events, rejections, openings, loads
