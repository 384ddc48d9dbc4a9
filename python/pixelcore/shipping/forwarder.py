"""The forwarder: it chooses which journals are shipped, in which order, and by which thread (contract, section 6).

For each kind of journals, a worker's forwarder has two threads, which do not wait for each other. One ships the worker's own journal.
The other ships orphaned journals, whose writers have ended. One process forwards a journal at a time, and holds its lock.

This module knows no records: `journal_shipper` reads and delivers them.
"""

from __future__ import annotations

import abc
import logging
import os
import sys
import threading
import time
from pathlib import Path

from .._core import Journal
from ..errors import JournalError
from ..journals import EVENTS, REDUCED, REJECTIONS, JournalDirectory, journals
from ..observing.stalls import StallWatch
from ..settings import Settings
from . import kafka
from .consent_follower import ConsentFollower
from .delivery import FencedError
from .destination import Destination
from .journal_shipper import WAIT_MS, JournalShipper
from .policies import Backoff, Level, Priority

log = logging.getLogger("pixelcore")

ORPHANS_EVERY_SECONDS = 2.0
RESTART_SECONDS, MAX_RESTART_SECONDS = 1.0, 30.0
FENCED_SECONDS = 15.0
"""Seconds after which a fenced journal is tried again. Meanwhile the process that fenced it ships the lines that both copies have;
later this process ships the lines that only its copy has."""
NICENESS = 15
"""The niceness of a worker's shipping thread at low priority. It has a thirtieth of the weight of an answering thread, so that a
batch delays no answer."""


class Forwarder:
    """Ships the journals of a data directory: events, reduced records, and rejections if they have a topic.

    With ``own``, it ships a worker's journals of events and of rejections until they are closed, and orphaned journals. Without
    it, it ships all journals. Each kind has its own threads and producers, so a flood of rejections, or a topic that refuses
    them, delays no event. A producer is made when there is something to ship: a gateway that rejects nothing has one.
    """

    def __init__(self, settings: Settings, own: tuple[Journal, Journal] | None = None, follow: bool = True) -> None:
        # A wrong property is reported here, and not later in a thread.
        kafka.try_settings(settings)
        self._threads: list[_ShippingThread] = []
        for index, kind in enumerate((EVENTS, REJECTIONS) if settings.rejected_topic is not None else (EVENTS,)):
            if own is None:
                self._threads.append(_AllJournals(settings, kind, follow))
            else:
                self._threads += [_OwnJournal(settings, kind, own[index]), _Orphans(settings, kind, own[index])]
        for kind in REDUCED:  # folded journals have no writers
            orphans = _AllJournals(settings, kind, follow) if own is None else _Orphans(settings, kind, None)
            self._threads.append(orphans)
        self._watch = StallWatch(settings.data_dir, [thread.to.progress for thread in self._threads])
        # Events of pipelines that look persons up are shipped only when the consent list is up to date.
        self._follower = ConsentFollower(settings) if settings.consent_secret else None

    def start(self) -> None:
        """Start all threads."""
        self._watch.start()
        if self._follower is not None:
            self._follower.start()
        for thread in self._threads:
            thread.start()

    def is_alive(self) -> bool:
        """Whether every shipping thread still runs."""
        return all(thread.is_alive() for thread in self._threads)

    def join(self, seconds: float) -> bool:
        """Wait until all threads have ended; False if ``seconds`` pass first."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self, drain_seconds: float) -> None:
        """Ship the rest for ``drain_seconds`` at most, and end."""
        for thread in self._threads:
            thread.to.stopping.set()
        self.join(drain_seconds)
        for thread in self._threads:
            thread.to.halted.set()
        self.join(5.0)
        if self._follower is not None:
            self._follower.stop()
        self._watch.stop()

    @property
    def finished(self) -> bool:
        """Whether all threads ended by themselves, with nothing left to ship."""
        return all(thread.finished for thread in self._threads)

    @property
    def stalled(self) -> tuple[float, str]:
        """Seconds without progress, and the reason; 0 seconds while there is progress."""
        worst = max((thread.to.progress for thread in self._threads), key=lambda progress: progress.stalled_seconds)
        return worst.stalled_seconds, worst.describe()


class _PriorityChanges(Exception):
    """The thread must change, because the priority changes."""


class _ShippingThread(threading.Thread, abc.ABC):
    """Ships journals of one kind at the right priority, and starts over after a defect."""

    def __init__(self, to: Destination, what: str, lowers: bool) -> None:
        super().__init__(name=f"forwarder of {what}", daemon=True)
        self.to = to
        self.finished = False
        """Whether the thread ended by itself, with nothing left to ship."""
        self._root = to.settings.data_dir / to.kind
        # Outside Linux, all threads of a process have the same priority.
        self._priority = Priority(lowers=lowers and sys.platform == "linux")
        self._backoff = Backoff(RESTART_SECONDS, MAX_RESTART_SECONDS)
        self._ended = False

    @abc.abstractmethod
    def ship(self) -> None:
        """Ship to the end."""

    def run(self) -> None:
        while not (self._ended or self.to.halted.is_set()):
            if self._priority.level is Level.NORMAL:
                self._ship()
            else:
                # In a separate thread, because a thread may lower its priority but not raise it again. librdkafka's threads
                # inherit the priority.
                low = threading.Thread(
                    target=self._ship_at_low_priority, name=f"{self.name}, low priority", daemon=True
                )
                low.start()
                low.join()

    def heed_priority(self, shipper: JournalShipper) -> None:
        """Raise `_PriorityChanges` when it is time to continue at another priority."""
        if self._priority.changes(shipper.pace.full_since):
            raise _PriorityChanges

    def _ship_at_low_priority(self) -> None:
        try:
            os.nice(NICENESS)
        except OSError as error:
            log.warning(
                "shipping runs at the priority of answering, because this process may not lower it: %s;"
                " under systemd, SystemCallFilter= must allow setpriority",
                error.strerror,
            )
            self._priority.stay_normal()
        self._ship()

    def _ship(self) -> None:
        """Ship to the end, or until the priority changes."""
        try:
            self.ship()
            self._ended = True
        except _PriorityChanges:
            pass
        except Exception as error:
            seconds = self._backoff.failed()
            self.to.progress.tries("starting over after a defect")
            self.to.progress.failed(repr(error))
            log.critical(
                "the %s failed and starts over in %g s; events are safe in the journal",
                self.name,
                seconds,
                exc_info=True,
            )
            self.to.halted.wait(seconds)
        finally:
            self.to.close()


class _OwnJournal(_ShippingThread):
    """Ships the journal of a writer in this process."""

    def __init__(self, settings: Settings, kind: str, own: Journal) -> None:
        super().__init__(Destination(settings, kind, own=True), kind, lowers=True)
        self._own = own

    def ship(self) -> None:
        shipper = self._shipper()
        try:
            while not (shipper.done or self.to.halted.is_set()):
                if shipper.claim():
                    try:
                        shipper.step()
                    except FencedError as error:
                        self._begin_anew(error)
                        shipper.close()
                        shipper = self._shipper()
                    if shipper.done and not self.to.stopping.is_set():
                        # Somebody removed the journal. Its writer lives, and restores it.
                        shipper = self._shipper()
                elif self.to.stopping.is_set() and not shipper.journal.path.exists():
                    return  # the writer never had an event
                else:
                    self.to.halted.wait(WAIT_MS / 1000)
                self.heed_priority(shipper)
        finally:
            shipper.close()

    def _shipper(self) -> JournalShipper:
        return JournalShipper(JournalDirectory(Path(self._own.path)), self.to)

    def _begin_anew(self, error: FencedError) -> None:
        """Leave the journal, because another process has a copy of it, and let the writer begin a new one."""
        old = self._own.id
        try:
            self._own.renew()
        except JournalError as failure:
            log.error("journal %s: %s", old, failure)
        log.critical(
            "journal %s is forwarded by %s now, perhaps from a copy of the data directory: new events go to journal %s",
            *(old, error, self._own.id),
        )


class _Orphans(_ShippingThread):
    """Ships orphaned journals, the oldest first, until it is stopped."""

    def __init__(self, settings: Settings, kind: str, own: Journal | None, lowers: bool = True) -> None:
        super().__init__(Destination(settings, kind), f"orphaned {kind}", lowers)
        self._own = own
        self._fenced_until: dict[JournalDirectory, float] = {}
        """Journals that other processes forward, and the time of the next look at each."""

    def ship(self) -> None:
        while not self.to.stopping.is_set():
            self.ship_orphans()
            self.to.stopping.wait(ORPHANS_EVERY_SECONDS)

    def ship_orphans(self, but: frozenset[JournalDirectory] = frozenset()) -> None:
        """Ship each journal to its end. Only one is open at a time, because each needs a producer."""
        all_moved = True
        for journal in self._orphans():
            if journal in but or self.to.stopping.is_set():
                continue
            self._fenced_until.pop(journal, None)
            shipper = JournalShipper(journal, self.to)
            try:
                going_on = shipper.claim()
                # A journal that cannot be read delays no other journal. It is tried again in the next round.
                while going_on and not (shipper.done or shipper.stuck or self.to.stopping.is_set()):
                    self.guarded_step(shipper)
                    self.heed_priority(shipper)
                    going_on = journal not in self._fenced_until
                all_moved &= not shipper.stuck
            finally:
                shipper.close()
        self.to.checkpoints.close()
        if all_moved:
            self.to.progress.moved()

    def guarded_step(self, shipper: JournalShipper) -> bool:
        """Take one step, and leave a journal that another process forwards."""
        try:
            return shipper.step()
        except FencedError as error:
            self._fenced_until[shipper.journal] = time.monotonic() + FENCED_SECONDS
            log.error("journal %s is forwarded by %s now: leaving it to that process", shipper.journal.id, error)
            return False

    def _orphans(self) -> list[JournalDirectory]:
        """The orphaned journals that are to be shipped now."""
        now = time.monotonic()
        own = self._own.id if self._own is not None else None
        others = (found for found in journals(self._root) if found.id != own)
        left = [journal for journal in others if now >= self._fenced_until.get(journal, 0.0)]
        return [journal for journal in left if not (self.is_kept(journal) or journal.is_live or journal.is_unfinished)]

    def is_kept(self, journal: JournalDirectory) -> bool:
        """Whether a journal is shipped and only kept. Deletes it after its retention."""
        try:
            shipped_at = journal.shipped_at
            if shipped_at is None:
                return False
            if time.time() - shipped_at >= self.to.settings.journal_retain:
                journal.delete()
        except (OSError, JournalError) as error:
            log.error("journal %s: %s", journal.id, error)
            return False
        return True


class _AllJournals(_Orphans):
    """Ships all journals for ``pixelcore forward``. Journals of living writers are shipped side by side."""

    def __init__(self, settings: Settings, kind: str, follow: bool) -> None:
        super().__init__(settings, kind, None, lowers=False)
        self._follow = follow

    def ship(self) -> None:
        live: dict[JournalDirectory, JournalShipper] = {}
        try:
            while not self.to.stopping.is_set():
                self.ship_orphans(frozenset(live))
                self._claim_live(live)
                moved = False
                for journal, shipper in list(live.items()):
                    moved |= self.guarded_step(shipper)
                    if shipper.done or journal in self._fenced_until:
                        live.pop(journal).close()
                if not moved and not self._follow:
                    self.finished = self._is_all_shipped(live)
                    return
                if not live:
                    self.to.halted.wait(WAIT_MS / 1000)
        finally:
            for shipper in live.values():
                shipper.close()

    def _claim_live(self, live: dict[JournalDirectory, JournalShipper]) -> None:
        for journal in journals(self._root):
            if journal not in live and journal not in self._fenced_until and journal.is_live:
                shipper = JournalShipper(journal, self.to)
                if shipper.claim():
                    live[journal] = shipper

    def _is_all_shipped(self, live: dict[JournalDirectory, JournalShipper]) -> bool:
        shipped = {journal for journal, shipper in live.items() if not shipper.stuck}
        left = [found.id for found in journals(self._root) if found not in shipped and not self.is_kept(found)]
        if left:
            log.error("journals not shipped, or locked by another process: %s", ", ".join(left))
        return not left
