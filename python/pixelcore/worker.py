"""What one worker process holds: its journals, the forwarder, and a thread that keeps house."""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from . import counters
from . import log as logging_setup
from ._core import Collector, Committer, Journal
from .collector import collector
from .datadir import EVENTS, REJECTIONS, Hold
from .errors import JournalError, SettingsError
from .settings import Settings

log = logging.getLogger("pixelcore")

HOUSEKEEPING_SECONDS = 1.0
LOG_EVERY_SECONDS = 60.0
# A request waits so long for the GIL when the forwarder has it. Python's own 5 ms are as long as a batch takes.
SWITCH_SECONDS = 0.0002
# With less free space than this, a worker that failed to write does not call itself ready again.
SPARE_BYTES = 1 << 20


Answer = Callable[[Any, "str | None", "Exception | None"], object]
"""Answers a request by its protocol, why it was rejected, and why nothing is kept of it."""


class Worker:
    """One worker's life, from start to stop."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, answer: Answer) -> None:
        logging_setup.configure(settings)
        self.settings = settings
        self.debug_header = settings.debug_header
        root = settings.data_dir
        parent = multiprocessing.parent_process()
        self._hold = Hold(root, os.getpid() if parent is None or parent.pid is None else parent.pid)
        try:
            self.events = Journal(
                root / EVENTS, segment_bytes=settings.journal_segment_bytes, max_bytes=settings.journal_max_bytes
            )
            self.rejections = Journal(
                root / REJECTIONS,
                segment_bytes=settings.journal_segment_bytes,
                max_bytes=settings.rejected_max_bytes,
                when_full="drop_oldest",
            )
        except JournalError as error:
            raise SettingsError(f"PIXELCORE_DATA_DIR: {error}") from None
        self._counters = counters.begin()
        always = settings.fsync == "always"
        self._collector = collector(settings, self.events, self.rejections, self._counters, group_commit=always)
        self.collect = self._collector.collect
        self.pipelines = None
        if settings.keys_file is not None:
            from .pipelines import Pipelines

            self.pipelines = Pipelines(settings.keys_file, settings.data_dir, self._collector)
            self.pipelines.start()
        self.asks_origin = self.pipelines is not None
        self.asks_proxies = bool(settings.trusted_proxies)
        self.durable = GroupCommit(self._collector, loop, answer) if always else None
        self._failure: str | None = None
        self._logged: dict[str, int] = {}
        self._log_again = 0.0
        self._stopping = threading.Event()
        self.forwarder = None
        if settings.ships:
            # librdkafka is worth its memory only where there is a Kafka.
            from .forwarder import Forwarder

            self.forwarder = Forwarder(settings, own=(self.events, self.rejections))
            sys.setswitchinterval(SWITCH_SECONDS)
            self.forwarder.start()
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)
        self._housekeeper.start()

    def failed(self, error: Exception) -> None:
        """Take note of a request that could not be journaled."""
        log.error("events are being lost: %s", error, exc_info=not isinstance(error, JournalError))
        self._failure = str(error)
        counters.ready(False)

    def health(self) -> tuple[int, str]:
        """Whether this process is worth keeping: (status, why)."""
        if self.forwarder is not None and not self.forwarder.is_alive() and not self._stopping.is_set():
            return 503, "the forwarder has stopped: see the log\n"
        if self.pipelines is not None and not self.pipelines.is_alive() and not self._stopping.is_set():
            return 503, "the key file is not looked at any more: see the log\n"
        return 200, "ok\n"

    def readiness(self) -> tuple[int, str]:
        """Whether new events are safe here: (status, why). Kafka does not matter: the journal keeps them."""
        if self._stopping.is_set():
            return 503, "stopping\n"
        if self._failure is not None:
            return 503, f"events are being lost: {self._failure}\n"
        return 200, "ok\n"

    def stop(self) -> None:
        """Finish: flush, ship what is left within the drain time, let go of the journals."""
        self._stopping.set()
        self._housekeeper.join()
        if self.pipelines is not None:
            self.pipelines.stop()
        if self.durable is not None:
            self.durable.stop()
        for journal in (self.events, self.rejections):
            try:
                journal.close()
            except JournalError as error:
                log.error("closing a journal: %s", error)
        if self.forwarder is not None:
            self.forwarder.stop(self.settings.drain_seconds)
        self._report()
        self._hold.release()

    def _keep_house(self) -> None:
        parent = multiprocessing.parent_process()
        interval = self.settings.fsync if isinstance(self.settings.fsync, float) else math.inf
        began = time.monotonic()
        next_flush, next_round = began + interval, began + HOUSEKEEPING_SECONDS
        while not self._stopping.wait(max(0.0, min(next_flush, next_round) - time.monotonic())):
            # Both from the same moment, so that flushes and rounds of one second share their wakeups.
            now = time.monotonic()
            is_round = now >= next_round
            if is_round:
                next_round = now + HOUSEKEEPING_SECONDS
            try:
                # Events that were lost are followed by safe ones only after a flush, however long the interval.
                if now >= next_flush or (self._failure is not None and interval < math.inf):
                    next_flush = now + interval
                    with counters.timed("fsync_seconds"):
                        self._collector.commit()
                if not is_round:
                    continue
                self._look_after()
            except (JournalError, OSError) as error:
                self.failed(error)
            if parent is not None and os.getppid() != parent.pid:
                # A worker that outlives its server would hold the port with settings of the past.
                log.warning("the server process is gone: stopping")
                self._hold.release()  # what is left to ship holds up no successor
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _look_after(self) -> None:
        self._mend()
        used = self.events.measure()
        if self._failure is not None and self._has_room(used) and self._flushes():
            log.warning("events are safe again")
            self._failure = None
            counters.ready(True)
        self._report_now_and_then()

    def _mend(self) -> None:
        """Put back what somebody has removed of our journals."""
        for journal in (self.events, self.rejections):
            if (found := journal.mend()) is not None:
                log.error("journal %s: %s", journal.id, found)

    def _has_room(self, used: int) -> bool:
        in_budget = used + SPARE_BYTES <= self.settings.journal_max_bytes
        return in_budget and shutil.disk_usage(self.settings.data_dir).free > SPARE_BYTES

    def _flushes(self) -> bool:
        """Whether the device takes something: a journal without new lines would not find out."""
        try:
            with tempfile.TemporaryFile(dir=self.settings.data_dir) as probe:
                probe.write(b"pixelcore")
                probe.flush()
                os.fsync(probe.fileno())
        except OSError:
            return False
        return True

    def _report_now_and_then(self) -> None:
        if time.monotonic() >= self._log_again and self._report():
            self._log_again = time.monotonic() + LOG_EVERY_SECONDS

    def _report(self) -> bool:
        """Log what was rejected or lost since the last time: a flood of it is still one line."""
        counts = self._counters.outcomes()
        del counts["accepted"]
        news = {name: count - self._logged.get(name, 0) for name, count in counts.items()}
        news = {name: count for name, count in news.items() if count}
        if news:
            log.warning("requests without an event: %s", ", ".join(f"{count} {name}" for name, count in news.items()))
        self._logged = counts
        return bool(news)


class GroupCommit:
    """``PIXELCORE_FSYNC=always``: an answer waits for the flush that covers its line, with all others of its group."""

    def __init__(self, collector: Collector, loop: asyncio.AbstractEventLoop, answer: Answer) -> None:
        self._committer = Committer(collector)
        self._loop = loop
        self._answer = answer
        self.ask = self._committer.ask
        loop.add_reader(self._committer.fileno(), self._take)

    def stop(self) -> None:
        """Flush for those who still wait."""
        self._loop.remove_reader(self._committer.fileno())
        self._committer.stop()
        self._take()

    def _take(self) -> None:
        answer = self._answer
        for waited, seconds, error in self._committer.take():
            # Who asks after a flush has begun with his line has another one made, which finds nothing to do.
            if waited and error is None:
                counters.observe("fsync_seconds", seconds)
            for protocol, outcome in waited:
                answer(protocol, outcome, error)
