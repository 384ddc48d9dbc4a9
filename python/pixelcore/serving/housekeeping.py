"""The housekeeper: a thread that flushes, repairs and measures a worker's journals, and notices the end of the server process.

It decides when events are safe again (`safety`). It does not answer requests, and it does not ship.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from .._core import Collector, Journal
from ..errors import JournalError
from ..observing import counters
from ..processes import ServerWatch
from ..settings import Settings
from . import handover
from .safety import IgnoredNames, OutcomeReport, Safety

log = logging.getLogger("pixelcore")

ROUND_SECONDS = 1.0
SPARE_BYTES = 1 << 20
"""Bytes. With less free space than this, a worker that failed to write does not become ready again."""


class Due(NamedTuple):
    """The work that is due now."""

    flush: bool
    round: bool


class Unkept(NamedTuple):
    """Records of rejected requests that are not kept."""

    share: int
    """Records of keys and reasons that exceed their share of the journal."""
    oldest: int
    """Old records that were dropped to make room."""


class Timetable:
    """The times of flushes and of rounds. Both count from the same moment, so that intervals of one second share a wakeup."""

    def __init__(self, flush_seconds: float, now: float) -> None:
        """``flush_seconds`` is infinite if nothing is to be flushed. ``now`` is of any monotonic clock, in seconds."""
        self._flush_seconds = flush_seconds
        self._flush_at = now + flush_seconds
        self._round_at = now + ROUND_SECONDS

    def wait(self, now: float) -> float:
        """Seconds until something is due."""
        return max(0.0, min(self._flush_at, self._round_at) - now)

    def due(self, now: float, losing: bool) -> Due:
        """The due work. While events are being lost, every look flushes, because only a flush makes new events safe again."""
        flush = now >= self._flush_at or (losing and self._flush_seconds < math.inf)
        if flush:
            self._flush_at = now + self._flush_seconds
        round_ = now >= self._round_at
        if round_:
            self._round_at = now + ROUND_SECONDS
        return Due(flush, round_)


class Housekeeper(threading.Thread):
    """Looks after the journals of a worker until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        collector: Collector,
        journals: tuple[Journal, Journal, Journal, Journal],
        safety: Safety,
        report: OutcomeReport,
        leave: Callable[[], None],
    ) -> None:
        """``journals`` are those of events, rejections, openings and loads. ``leave`` is called after the server process has ended."""
        super().__init__(name="housekeeper", daemon=True)
        self._settings = settings
        self._collector = collector
        self._journals = journals
        self._events, self._rejections, *self._reduced = journals
        self._safety = safety
        self._report = report
        self._ignored = IgnoredNames()
        self._leave = leave
        self._unkept = Unkept(0, 0)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()
        self._count_unkept()

    def run(self) -> None:
        server = ServerWatch()
        interval = self._settings.fsync if isinstance(self._settings.fsync, float) else math.inf
        timetable = Timetable(interval, time.monotonic())
        while not self._stopping.wait(timetable.wait(time.monotonic())):
            due = timetable.due(time.monotonic(), losing=self._safety.failure is not None)
            try:
                if due.flush:
                    with counters.timed("fsync_seconds"):
                        self._collector.commit()
                if due.round:
                    self._make_a_round()
            except (JournalError, OSError) as error:
                self._safety.lost(error)
            if server.is_gone():
                # A worker that outlives its server would keep the port, with old settings.
                log.warning("the server process has ended: stopping this worker")
                self._leave()
                os.kill(os.getpid(), handover.AT_ONCE)
                return

    def _make_a_round(self) -> None:
        for journal in self._journals:
            if (found := journal.repair()) is not None:
                log.error("journal %s: %s", journal.id, found)
        used = self._events.measure()
        if self._safety.failure is not None and self._has_room(used) and self._flushes():
            self._safety.recovered()
        for journal in (self._rejections, *self._reduced):
            if journal.end:
                journal.measure()
        self._count_unkept()
        self._report.now_and_then()
        self._ignored.now_and_then()

    def _count_unkept(self) -> None:
        """Count the records of rejected requests that the byte budget did not keep (contract, section 5)."""
        unkept = Unkept(self._collector.refused, self._rejections.dropped)
        if unkept != self._unkept:
            share, oldest = unkept.share - self._unkept.share, unkept.oldest - self._unkept.oldest
            counters.unkept(share, oldest)
            log.warning(
                "%d records of rejected requests were dropped, the oldest first, and %d of floods were not kept:"
                " PIXELCORE_REJECTED_MAX_BYTES is used up",
                oldest,
                share,
            )
        self._unkept = unkept

    def _has_room(self, used: int) -> bool:
        in_budget = used + SPARE_BYTES <= self._settings.journal_max_bytes
        return in_budget and shutil.disk_usage(self._settings.data_dir).free > SPARE_BYTES

    def _flushes(self) -> bool:
        """Whether the device accepts a flush. A journal without new lines would not find out."""
        try:
            with tempfile.TemporaryFile(dir=self._settings.data_dir) as probe:
                probe.write(b"pixelcore")
                probe.flush()
                os.fsync(probe.fileno())
        except OSError:
            return False
        return True
