"""The thread that flushes a worker's journals, repairs and measures them, and notices when the server process has ended."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
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
from .safety import OutcomeReport, Safety

log = logging.getLogger("pixelcore")

ROUND_SECONDS = 1.0
SPARE_BYTES = 1 << 20
"""With less free space than this, a worker that failed to write does not call itself ready again."""


class Due(NamedTuple):
    """What is to be done now."""

    flush: bool
    round: bool


class Timetable:
    """When to flush, and when to make a round. Both count from the same moment, so that those of one second share a wakeup."""

    def __init__(self, flush_seconds: float, now: float) -> None:
        """``flush_seconds`` is infinite where nothing is flushed; ``now`` is of any clock that does not go back."""
        self._flush_seconds = flush_seconds
        self._flush_at = now + flush_seconds
        self._round_at = now + ROUND_SECONDS

    def wait(self, now: float) -> float:
        """Seconds until something is due."""
        return max(0.0, min(self._flush_at, self._round_at) - now)

    def due(self, now: float, losing: bool) -> Due:
        """What is due. While events are being lost every look flushes, since only a flush makes new ones safe again."""
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
        journals: tuple[Journal, Journal],
        safety: Safety,
        report: OutcomeReport,
        leave: Callable[[], None],
    ) -> None:
        """``journals`` are those of events and of rejections; ``leave`` is called when the server process has ended."""
        super().__init__(name="housekeeper", daemon=True)
        self._settings = settings
        self._collector = collector
        self._events, self._rejections = journals
        self._safety = safety
        self._report = report
        self._leave = leave
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()

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
                # A worker that outlives its server would hold the port with settings of the past.
                log.warning("the server process is gone: stopping")
                self._leave()
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _make_a_round(self) -> None:
        for journal in (self._events, self._rejections):
            if (found := journal.repair()) is not None:
                log.error("journal %s: %s", journal.id, found)
        used = self._events.measure()
        if self._safety.failure is not None and self._has_room(used) and self._flushes():
            self._safety.recovered()
        self._report.now_and_then()

    def _has_room(self, used: int) -> bool:
        in_budget = used + SPARE_BYTES <= self._settings.journal_max_bytes
        return in_budget and shutil.disk_usage(self._settings.data_dir).free > SPARE_BYTES

    def _flushes(self) -> bool:
        """Whether the device takes something: a journal without new lines would not find out."""
        try:
            with tempfile.TemporaryFile(dir=self._settings.data_dir) as probe:
                probe.write(b"pixelcore")
                probe.flush()
                os.fsync(probe.fileno())
        except OSError:
            return False
        return True
