"""What one worker process holds: its journals, the forwarder, and a thread that keeps house."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable

from . import counters
from . import log as logging_setup
from ._core import Journal
from .collector import collector
from .datadir import EVENTS, REJECTIONS
from .errors import JournalError, SettingsError
from .settings import Settings

log = logging.getLogger("pixelcore")

HOUSEKEEPING_SECONDS = 1.0
LOG_EVERY_SECONDS = 60.0
# With less free space than this, a worker that failed to write does not call itself ready again.
SPARE_BYTES = 1 << 20


class Worker:
    """One worker's life, from start to stop."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        logging_setup.configure(settings)
        self.settings = settings
        self.debug_header = settings.debug_header
        root = settings.data_dir
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
        self._collector = collector(settings, self.events, self.rejections, self._counters)
        self.collect = self._collector.collect
        self.pipelines = None
        if settings.keys_file is not None:
            from .pipelines import Pipelines

            self.pipelines = Pipelines(settings.keys_file, settings.data_dir, self._collector)
            self.pipelines.start()
        self.asks_origin = self.pipelines is not None
        self.asks_proxies = bool(settings.trusted_proxies)
        self.durable = GroupCommit(self._sync, loop) if settings.fsync == "always" else None
        self._failure: str | None = None
        self._logged: dict[str, int] = {}
        self._log_again = 0.0
        self._stopping = threading.Event()
        self.forwarder = None
        if settings.ships:
            # librdkafka is worth its memory only where there is a Kafka.
            from .forwarder import Forwarder

            self.forwarder = Forwarder(settings, own=(self.events, self.rejections))
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
        for journal in (self.events, self.rejections):
            try:
                journal.close()
            except JournalError as error:
                log.error("closing a journal: %s", error)
        if self.forwarder is not None:
            self.forwarder.stop(self.settings.drain_seconds)
        self._report()

    def _sync(self) -> None:
        with counters.timed("fsync_seconds"):
            self.events.sync()
            self.rejections.sync()

    def _keep_house(self) -> None:
        parent = multiprocessing.parent_process()
        interval = self.settings.fsync if isinstance(self.settings.fsync, float) else HOUSEKEEPING_SECONDS
        next_round = 0.0
        while not self._stopping.wait(min(interval, HOUSEKEEPING_SECONDS)):
            try:
                if isinstance(self.settings.fsync, float):
                    self._sync()
                if time.monotonic() < next_round:
                    continue
                next_round = time.monotonic() + HOUSEKEEPING_SECONDS
                used = self.events.measure()
                if self._failure is not None and self._has_room(used):
                    log.warning("events are safe again")
                    self._failure = None
                    counters.ready(True)
                self._report_now_and_then()
            except JournalError as error:
                self.failed(error)
            if parent is not None and os.getppid() != parent.pid:
                # A worker that outlives its server would hold the port with settings of the past.
                log.warning("the server process is gone: stopping")
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _has_room(self, used: int) -> bool:
        in_budget = used + SPARE_BYTES <= self.settings.journal_max_bytes
        return in_budget and shutil.disk_usage(self.settings.data_dir).free > SPARE_BYTES

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
    """``PIXELCORE_FSYNC=always``: one flush covers all lines that were written before it began."""

    def __init__(self, sync: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._sync = sync
        self._loop = loop
        self._next: asyncio.Future[None] | None = None
        self._running = False

    async def wait(self) -> None:
        """Wait for a flush that begins after this call. Raises `JournalError` when it fails."""
        if self._next is None:
            self._next = self._loop.create_future()
        waiting = self._next
        if not self._running:
            self._running = True
            task = self._loop.create_task(self._flush())
            task.add_done_callback(lambda task: task.result())
        await asyncio.shield(waiting)

    async def _flush(self) -> None:
        while (covered := self._next) is not None:
            self._next = None
            try:
                await self._loop.run_in_executor(None, self._sync)
            except JournalError as error:
                covered.set_exception(error)
            else:
                covered.set_result(None)
        self._running = False
