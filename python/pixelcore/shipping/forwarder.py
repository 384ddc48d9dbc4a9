"""Which journals are shipped, in which order, and by which thread (contract, section 6).

A forwarder ships its worker's own journals, and first of all the ones whose writers are gone. A journal is forwarded by
one process at a time, which holds its lock.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from .._core import Journal
from ..errors import JournalError
from ..journals import EVENTS, REJECTIONS, JournalDirectory, journals
from ..settings import Settings
from . import kafka
from .delivery import FencedError
from .journal_shipper import WAIT_MS, Destination, JournalShipper
from .policies import Level, Priority

log = logging.getLogger("pixelcore")

ORPHANS_EVERY_SECONDS = 2.0
RESTART_SECONDS = 1.0
FENCED_SECONDS = 15.0
"""The process that has fenced this one ships what both copies of a journal have. What only this copy has is shipped after so long."""
NICENESS = 15
"""Of a worker's thread at low priority: a thirtieth of the weight of a thread that answers, so that a batch holds up no answer."""


class Forwarder:
    """Ships the journals of a data directory: events, and rejections where there is a topic for them.

    With ``own``, a worker's journals of events and of rejections, until they are closed; else all that are there. Each
    kind has a thread and a producer of its own, so that a flood of rejections, or a topic that takes none, holds up no
    event. A producer is made when there is something to ship: a gateway that rejects nothing has one.
    """

    def __init__(self, settings: Settings, own: tuple[Journal, Journal] | None = None, follow: bool = True) -> None:
        # Says what is wrong with the properties here and now, not later in a thread.
        kafka.producer(settings).purge()
        events, rejections = own or (None, None)
        self._routes = [_Route(settings, EVENTS, settings.topic, events, follow)]
        if settings.rejected_topic is not None:
            self._routes.append(_Route(settings, REJECTIONS, settings.rejected_topic, rejections, follow))

    def start(self) -> None:
        """Begin."""
        for route in self._routes:
            route.start()

    def is_alive(self) -> bool:
        """Whether all that is to be shipped still is."""
        return all(route.is_alive() for route in self._routes)

    def join(self, seconds: float) -> bool:
        """Wait until everything has ended; False when ``seconds`` passed first."""
        end = time.monotonic() + seconds
        for route in self._routes:
            route.join(max(0.0, end - time.monotonic()))
        return not any(route.is_alive() for route in self._routes)

    def stop(self, drain_seconds: float) -> None:
        """Ship what is left, for ``drain_seconds`` at most."""
        for route in self._routes:
            route.stopping.set()
        self.join(drain_seconds)
        for route in self._routes:
            route.halted.set()
        self.join(5.0)

    @property
    def finished(self) -> bool:
        """Whether it ended of its own accord, with nothing left to do."""
        return all(route.finished for route in self._routes)


class _PriorityChanges(Exception):
    """The rest is shipped at another priority, by another thread."""


class _Route(threading.Thread):
    """From the journals under one root to one topic."""

    def __init__(self, settings: Settings, kind: str, topic: str, own: Journal | None, follow: bool) -> None:
        super().__init__(name=f"forwarder of {kind}", daemon=True)
        self.stopping = threading.Event()
        """Set when what is left is to be shipped, and nothing that comes later."""
        self.halted = threading.Event()
        """Set when the time for that is over."""
        self.finished = False
        self._to = Destination(settings, topic, self.halted)
        self._root = settings.data_dir / kind
        self._own = JournalDirectory(Path(own.path)) if own is not None else None
        self._follow = follow
        self._fenced_until: dict[JournalDirectory, float] = {}
        """Journals that other processes forward, and when to look whether something is left in them."""
        # Elsewhere all threads of a process have one priority.
        self._priority = Priority(lowers=own is not None and sys.platform == "linux")
        self._ended = False

    def run(self) -> None:
        while not (self._ended or self.halted.is_set()):
            if self._priority.level is Level.NORMAL:
                self._ship()
            else:
                # In a thread of its own, since a thread may lower its priority but not raise it again. librdkafka's threads inherit it.
                low = threading.Thread(
                    target=self._ship_at_low_priority, name=f"{self.name}, low priority", daemon=True
                )
                low.start()
                low.join()

    def _ship_at_low_priority(self) -> None:
        os.nice(NICENESS)
        self._ship()

    def _ship(self) -> None:
        """Ship to the end, or until the priority changes."""
        try:
            if self._own is not None:
                self._ship_own(self._own)
            else:
                self._ship_all()
            self._ended = True
        except _PriorityChanges:
            pass
        except Exception:
            log.critical("the forwarder failed and starts over; events are safe in the journal", exc_info=True)
            self.halted.wait(RESTART_SECONDS)

    def _ship_own(self, journal: JournalDirectory) -> None:
        """Ship the journal of a writer in this process, and meanwhile those whose writers are gone."""
        own = JournalShipper(journal, self._to)
        look_again = 0.0
        try:
            while not (own.done or self.halted.is_set()):
                if time.monotonic() >= look_again and not self.stopping.is_set():
                    self._ship_to_the_end(self._orphans())
                    look_again = time.monotonic() + ORPHANS_EVERY_SECONDS
                if own.claim():
                    own.step()
                    if own.done and not self.stopping.is_set():
                        # It was removed under us, and its writer, which lives, puts it back.
                        own = JournalShipper(journal, self._to)
                elif self.stopping.is_set() and not journal.path.exists():
                    return  # there never was an event
                else:
                    self.halted.wait(WAIT_MS / 1000)
                self._heed_priority(own)
        except FencedError as error:
            log.critical(
                "journal %s is forwarded by %s now, perhaps from a copy of the data directory: forwarding stops here",
                journal.id,
                error,
            )
        finally:
            own.close()

    def _ship_all(self) -> None:
        """Ship all journals, those of living writers side by side."""
        live: dict[JournalDirectory, JournalShipper] = {}
        try:
            while not self.stopping.is_set():
                # One at a time, since each costs a producer; only living writers' journals stay open.
                self._ship_to_the_end(journal for journal in self._orphans() if journal not in live)
                self._claim_live(live)
                moved = False
                for journal, shipper in list(live.items()):
                    moved |= self._guarded_step(shipper)
                    if shipper.done or journal in self._fenced_until:
                        live.pop(journal).close()
                if not moved and not self._follow:
                    self.finished = self._is_all_shipped(live)
                    return
                if not live:
                    self.halted.wait(WAIT_MS / 1000)
        finally:
            for shipper in live.values():
                shipper.close()

    def _claim_live(self, live: dict[JournalDirectory, JournalShipper]) -> None:
        for journal in journals(self._root):
            if journal not in live and journal not in self._fenced_until and journal.is_live:
                shipper = JournalShipper(journal, self._to)
                if shipper.claim():
                    live[journal] = shipper

    def _is_all_shipped(self, live: dict[JournalDirectory, JournalShipper]) -> bool:
        shipped = {journal for journal, shipper in live.items() if not shipper.stuck}
        left = [found.id for found in journals(self._root) if found not in shipped and not self._is_kept(found)]
        if left:
            log.error("journals not shipped, or locked by another process: %s", ", ".join(left))
        return not left

    def _ship_to_the_end(self, orphans: Iterable[JournalDirectory]) -> None:
        """Ship journals whose writers are gone, the oldest first."""
        for journal in orphans:
            self._fenced_until.pop(journal, None)
            shipper = JournalShipper(journal, self._to)
            try:
                going_on = shipper.claim()
                # A journal that cannot be read holds up nothing else; it is tried again in the next round.
                while going_on and not (shipper.done or shipper.stuck or self.stopping.is_set()):
                    self._guarded_step(shipper)
                    self._heed_priority(shipper)
                    going_on = journal not in self._fenced_until
            finally:
                shipper.close()

    def _guarded_step(self, shipper: JournalShipper) -> bool:
        try:
            return shipper.step()
        except FencedError as error:
            self._fenced_until[shipper.journal] = time.monotonic() + FENCED_SECONDS
            log.error("journal %s is forwarded by %s now: leaving it", shipper.journal.id, error)
            return False

    def _heed_priority(self, shipper: JournalShipper) -> None:
        if self._priority.changes(shipper.pace.full_since):
            raise _PriorityChanges

    def _orphans(self) -> list[JournalDirectory]:
        """The journals whose writers are gone."""
        now = time.monotonic()
        others = (found for found in journals(self._root) if found != self._own)
        left = [journal for journal in others if now >= self._fenced_until.get(journal, 0.0)]
        return [journal for journal in left if not self._is_kept(journal) and not journal.is_live]

    def _is_kept(self, journal: JournalDirectory) -> bool:
        """Whether a journal is shipped and only kept; deletes it when it was kept long enough."""
        try:
            shipped_at = journal.shipped_at
            if shipped_at is None:
                return False
            if time.time() - shipped_at >= self._to.settings.journal_retain:
                journal.delete()
        except (OSError, JournalError) as error:
            log.error("journal %s: %s", journal.id, error)
            return False
        return True
