"""From the journals to Kafka (contract, section 6).

A forwarder ships its worker's own journals, and first of all the ones whose writers are gone. A journal is forwarded by
one process at a time, which holds its ``forward.lock``.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

from . import kafka
from ._core import Journal, JournalReader
from .datadir import EVENTS, REJECTIONS, journals
from .delivery import FencedError
from .errors import JournalError
from .settings import Settings
from .shipment import SHIPPED, WAIT_MS, Shipment

log = logging.getLogger("pixelcore")

ORPHANS_EVERY_SECONDS = 2.0
RESTART_SECONDS = 1.0
# Of a copied journal whoever comes later ships what both have. What only this one has is shipped after that.
LOST_SECONDS = 15.0
# In a worker, so that a batch holds up no answer: a thirtieth of the weight of a thread that answers.
NICENESS = 15
# On a core full of requests that is too little to ship them all, so it ends when batches were full for so long, and begins
# again when one was not and so much time has passed.
BEHIND_SECONDS = 5.0
HURRY_SECONDS = 60.0


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


class _Route(threading.Thread):
    """From the journals under one root to one topic."""

    def __init__(self, settings: Settings, kind: str, topic: str, own: Journal | None, follow: bool) -> None:
        super().__init__(name=f"forwarder of {kind}", daemon=True)
        self._settings = settings
        self._root = settings.data_dir / kind
        self._topic = topic
        self._own = Path(own.path) if own is not None else None
        self._follow = follow
        self.stopping = threading.Event()
        self.halted = threading.Event()
        self._lost: dict[Path, float] = {}
        """Journals that others forward, and when to look again whether a finished one has something left here."""
        self.finished = False
        self._ended = False
        # Elsewhere all threads of a process have one priority.
        self._gives_way = own is not None and sys.platform == "linux"
        self._hurry_until = 0.0
        """When what is shipped beside requests may give way to them again; 0 while it does."""

    def run(self) -> None:
        while not (self._ended or self.halted.is_set()):
            if self._hurry_until or not self._gives_way:
                self._ship()
            else:
                # Of its own, since a thread may lower its priority but not raise it again. librdkafka's threads inherit it.
                gentle = threading.Thread(target=self._ship_gently, name=f"{self.name}, after answers", daemon=True)
                gentle.start()
                gentle.join()

    def _ship_gently(self) -> None:
        os.nice(NICENESS)
        self._ship()

    def _ship(self) -> None:
        """Ship to the end, or to a change of priority."""
        try:
            if self._own is not None:
                self._ended = self._ship_own(self._own)
            else:
                self._ship_all()
                self._ended = True
        except Exception:
            log.critical("the forwarder failed and starts over; events are safe in the journal", exc_info=True)
            self.halted.wait(RESTART_SECONDS)

    def _ship_own(self, journal: Path) -> bool:
        """False when the rest wants another priority."""
        own = self._shipment(journal)
        look_again = 0.0
        try:
            while not (own.done or self.halted.is_set()):
                if time.monotonic() >= look_again and not self.stopping.is_set():
                    if self._ship_to_the_end(self._orphans()):
                        return False
                    look_again = time.monotonic() + ORPHANS_EVERY_SECONDS
                if own.claim():
                    own.step()
                    if own.done and not self.stopping.is_set():
                        # It was removed under us, and its writer, which lives, puts it back.
                        own = self._shipment(journal)
                elif self.stopping.is_set() and not journal.exists():
                    return True  # there never was an event
                else:
                    self.halted.wait(WAIT_MS / 1000)
                if self._changes_priority(own.full_since):
                    return False
        except FencedError as error:
            log.critical(
                "journal %s is forwarded by %s now, perhaps from a copy of the data directory: forwarding stops here",
                journal.name,
                error,
            )
        finally:
            own.close()
        return True

    def _changes_priority(self, full_since: float | None) -> bool:
        """Whether to go on at another priority from now on."""
        if not self._gives_way:
            return False
        now = time.monotonic()
        if self._hurry_until == 0 and full_since is not None and now - full_since > BEHIND_SECONDS:
            self._hurry_until = now + HURRY_SECONDS
            return True
        if self._hurry_until and full_since is None and now > self._hurry_until:
            self._hurry_until = 0.0
            return True
        return False

    def _ship_all(self) -> None:
        live: dict[Path, Shipment] = {}
        try:
            while not self.stopping.is_set():
                # One at a time, since each costs a producer; only living writers' journals stay open.
                self._ship_to_the_end([path for path in self._orphans() if path not in live])
                self._claim_live(live)
                moved = False
                for path, shipment in list(live.items()):
                    moved |= self._guarded_step(shipment)
                    if shipment.done or path in self._lost:
                        live.pop(path).close()
                if not moved and not self._follow:
                    shipped = {path for path, shipment in live.items() if not shipment.stuck}
                    left = [path.name for path in self._journals() if path not in shipped and not self._is_kept(path)]
                    if left:
                        log.error("not shipped, or by another process: %s", ", ".join(left))
                    self.finished = not left
                    return
                if not live:
                    self.halted.wait(WAIT_MS / 1000)
        finally:
            for shipment in live.values():
                shipment.close()

    def _claim_live(self, live: dict[Path, Shipment]) -> None:
        for path in self._journals():
            if path not in live and path not in self._lost and JournalReader(path).live:
                shipment = self._shipment(path)
                if shipment.claim():
                    live[path] = shipment

    def _ship_to_the_end(self, journals: list[Path]) -> bool:
        """Ship journals whose writers are gone, the oldest first. True when the rest wants another priority."""
        for path in journals:
            self._lost.pop(path, None)
            shipment = self._shipment(path)
            try:
                # What cannot be read holds up nothing else; it is tried again in the next round.
                going_on = shipment.claim()
                while going_on and not (shipment.done or shipment.stuck or self.stopping.is_set()):
                    self._guarded_step(shipment)
                    if self._changes_priority(shipment.full_since):
                        return True
                    going_on = path not in self._lost
            finally:
                shipment.close()
        return False

    def _guarded_step(self, shipment: Shipment) -> bool:
        try:
            return shipment.step()
        except FencedError as error:
            self._lost[shipment.journal] = time.monotonic() + LOST_SECONDS
            log.error("journal %s is forwarded by %s now: leaving it", shipment.journal.name, error)
            return False

    def _shipment(self, journal: Path) -> Shipment:
        return Shipment(self._settings, self._topic, journal, self.halted)

    def _journals(self) -> list[Path]:
        return journals(self._root)

    def _orphans(self) -> list[Path]:
        """The journals whose writers are gone."""
        now = time.monotonic()
        others = [path for path in self._journals() if path != self._own and now >= self._lost.get(path, 0)]
        return [path for path in others if not self._is_kept(path) and not JournalReader(path).live]

    def _is_kept(self, journal: Path) -> bool:
        """Whether a journal is shipped and only kept; deletes it when it was kept long enough."""
        try:
            age = time.time() - (journal / SHIPPED).stat().st_mtime
            if age >= self._settings.journal_retain:
                JournalReader(journal).delete_journal()
        except (OSError, JournalError) as error:
            if not isinstance(error, FileNotFoundError):
                log.error("journal %s: %s", journal.name, error)
            return False
        return True
