"""From the journals to Kafka (contract, section 6).

A forwarder ships its worker's own journal, and first of all the ones whose writers are gone. A journal is forwarded by
one process at a time, which holds its ``forward.lock``.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from . import kafka
from ._core import Journal, JournalReader
from .datadir import EVENTS, journals
from .delivery import FencedError
from .errors import JournalError
from .settings import Settings
from .shipment import SHIPPED, WAIT_MS, Shipment

log = logging.getLogger("pixelcore")

ORPHANS_EVERY_SECONDS = 2.0
RESTART_SECONDS = 1.0


class Forwarder(threading.Thread):
    """Ships the journals of a data directory. With ``own``, that one until it is closed; else all that are there."""

    def __init__(self, settings: Settings, own: Journal | None = None, follow: bool = True) -> None:
        super().__init__(name="forwarder", daemon=True)
        self._settings = settings
        self._own = Path(own.path) if own is not None else None
        self._follow = follow
        self._halted = threading.Event()
        self._stopping = threading.Event()
        self._lost: set[Path] = set()
        self.finished = False
        """Whether it ended of its own accord, with nothing left to do."""
        # Says what is wrong with the properties here and now, not later in a thread.
        kafka.producer(settings).purge()

    def run(self) -> None:
        while not self._halted.is_set():
            try:
                if self._own is not None:
                    self._ship_own(self._own)
                else:
                    self._ship_all()
                return
            except Exception:
                log.critical("the forwarder failed and starts over; events are safe in the journal", exc_info=True)
                self._halted.wait(RESTART_SECONDS)

    def stop(self, drain_seconds: float) -> None:
        """Ship what is left, for ``drain_seconds`` at most."""
        self._stopping.set()
        self.join(drain_seconds)
        self._halted.set()
        self.join(5.0)

    def _ship_own(self, journal: Path) -> None:
        own = Shipment(self._settings, journal, self._halted)
        look_again = 0.0
        try:
            while not (own.done or self._halted.is_set()):
                if time.monotonic() >= look_again and not self._stopping.is_set():
                    self._ship_to_the_end(self._orphans())
                    look_again = time.monotonic() + ORPHANS_EVERY_SECONDS
                if own.claim():
                    own.step()
                elif self._stopping.is_set() and not journal.exists():
                    return  # there never was an event
                else:
                    self._halted.wait(WAIT_MS / 1000)
        except FencedError as error:
            log.critical(
                "journal %s is forwarded by %s now, perhaps from a copy of the data directory: forwarding stops here",
                journal.name,
                error,
            )
        finally:
            own.close()

    def _ship_all(self) -> None:
        live: dict[Path, Shipment] = {}
        try:
            while not self._stopping.is_set():
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
                    self._halted.wait(WAIT_MS / 1000)
        finally:
            for shipment in live.values():
                shipment.close()

    def _claim_live(self, live: dict[Path, Shipment]) -> None:
        for path in self._journals():
            if path not in live and path not in self._lost and JournalReader(path).live:
                shipment = Shipment(self._settings, path, self._halted)
                if shipment.claim():
                    live[path] = shipment

    def _ship_to_the_end(self, journals: list[Path]) -> None:
        """Ship journals whose writers are gone, the oldest first."""
        for path in journals:
            shipment = Shipment(self._settings, path, self._halted)
            try:
                # What cannot be read holds up nothing else; it is tried again in the next round.
                going_on = shipment.claim()
                while going_on and not (shipment.done or shipment.stuck or self._stopping.is_set()):
                    self._guarded_step(shipment)
                    going_on = path not in self._lost
            finally:
                shipment.close()

    def _guarded_step(self, shipment: Shipment) -> bool:
        try:
            return shipment.step()
        except FencedError as error:
            self._lost.add(shipment.journal)
            log.error("journal %s is forwarded by %s now: leaving it", shipment.journal.name, error)
            return False

    def _journals(self) -> list[Path]:
        return journals(self._settings.data_dir / EVENTS)

    def _orphans(self) -> list[Path]:
        """The journals whose writers are gone."""
        others = [path for path in self._journals() if path != self._own and path not in self._lost]
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
