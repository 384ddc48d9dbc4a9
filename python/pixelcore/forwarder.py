"""From the journals to Kafka (contract, section 6).

A forwarder ships its worker's own journal, and first of all the ones whose writers are gone. A journal is forwarded by
one process at a time, which holds its ``forward.lock``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import threading
import time
import uuid
from pathlib import Path
from typing import IO

from confluent_kafka import KafkaException

from . import kafka
from ._core import Journal, JournalReader
from .datadir import EVENTS, journals
from .delivery import AtLeastOnce, Delivery, ExactlyOnce, FencedError
from .errors import JournalError
from .settings import Settings

log = logging.getLogger("pixelcore")

BATCH_EVENTS = 5000
BATCH_BYTES = 4 << 20
WAIT_MS = 100
ORPHANS_EVERY_SECONDS = 2.0
LOG_EVERY_SECONDS = 60.0
SHIPPED = "shipped"
FORWARD_LOCK = "forward.lock"


class Shipment:
    """One journal on its way: claim it, then step until it is done."""

    def __init__(self, settings: Settings, journal: Path, halted: threading.Event) -> None:
        self.journal = journal
        self.done = False
        self._settings = settings
        self._halted = halted
        self._claim: IO[str] | None = None
        self._reader = JournalReader(journal)
        self._delivery: Delivery | None = None
        self._owner = f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._fenced = False
        self._batch = BATCH_EVENTS
        self._backoff = 0.1
        self._complaint = ""
        self._complain_again = 0.0
        self._passed_over = (0, 0, 0)

    def claim(self) -> bool:
        """Take the journal, unless another process forwards it or it is not there."""
        if self._claim is not None:
            return True
        try:
            claim = (self.journal / FORWARD_LOCK).open("w")
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            return False
        self._claim = claim
        return True

    def step(self) -> bool:
        """Ship one batch, or wait a little for one; False when there was none.

        Sets ``done`` when the writer is gone and all is shipped. Raises `FencedError` when somebody else has taken the
        journal over.
        """
        try:
            if self._delivery is None:
                self._delivery = self._open()
                self._reader.seek(self._delivery.committed)
            return self._ship(self._delivery)
        except kafka.HaltedError:
            self.close()
        except (KafkaException, JournalError, OSError) as error:
            self._recover(error)
        return True

    def close(self) -> None:
        """Let go of everything; what is committed stays so."""
        if self._delivery is not None:
            self._delivery.close()
            self._delivery = None
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _open(self) -> Delivery:
        if self._settings.delivery == "at-least-once":
            return AtLeastOnce(self._settings, self.journal, self._halted.is_set)
        return ExactlyOnce(self._settings, self.journal, self._halted.is_set, self._owner, self._fenced)

    def _ship(self, delivery: Delivery) -> bool:
        events = self._reader.messages(self._batch, BATCH_BYTES)
        offset = self._reader.offset
        self._report_passed_over()
        if events:
            try:
                delivery.deliver(events, offset)
            except KafkaException as error:
                if len(events) > 1 or error.args[0].code() not in kafka.UNDELIVERABLE:
                    raise
                self._set_aside(events[0]["value"] or b"", error)
                delivery.close()
                self._delivery = delivery = self._open()
                delivery.deliver([], offset)
            self._complaint, self._backoff, self._fenced = "", 0.1, False
            self._batch = min(BATCH_EVENTS, self._batch * 2)
            self._reader.delete_before(delivery.committed, int(self._settings.journal_retain * 1000))
            return True
        if self._reader.finished():
            self._finish()
            return False
        return self._reader.wait(WAIT_MS)

    def _finish(self) -> None:
        if self._settings.journal_retain > 0:
            (self.journal / SHIPPED).touch()
        else:
            self._reader.delete_journal()
        self._report_passed_over()
        self.done = True
        self.close()

    def _set_aside(self, event: bytes, error: KafkaException) -> None:
        """Keep an event that no broker will ever take, rather than block all that come after it."""
        aside = self.journal.parent.parent / "undeliverable.ndjson"
        with aside.open("ab") as file:
            file.write(event + b"\n")
        log.error("an event of journal %s went to %s: %s", self.journal.name, aside, error.args[0].str())

    def _recover(self, error: Exception) -> None:
        """Start over from what is committed. After every failure the batch is halved, so that one event, or a broker
        that is too slow for large transactions, holds up nothing else."""
        text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        if text != self._complaint or time.monotonic() >= self._complain_again:
            log.warning("journal %s: %s; trying again", self.journal.name, text)
            self._complaint, self._complain_again = text, time.monotonic() + LOG_EVERY_SECONDS
        if self._delivery is not None:
            self._delivery.close()
            self._delivery = None
        self._fenced = isinstance(error, KafkaException) and error.args[0].code() in kafka.FENCED
        self._batch = max(1, self._batch // 2)
        self._halted.wait(self._backoff)
        self._backoff = min(2.0, self._backoff * 2)

    def _report_passed_over(self) -> None:
        now = (self._reader.torn, self._reader.corrupt, self._reader.missing)
        if now != self._passed_over:
            self._passed_over = now
            log.warning(
                "journal %s at offset %d: %d bytes of a torn line, %d corrupt lines, %d bytes of missing segments so far",
                self.journal.name,
                self._reader.offset,
                *now,
            )


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
        try:
            if self._own is not None:
                self._ship_own(self._own)
            else:
                self._ship_all()
        except Exception:
            log.critical("the forwarder has stopped; events stay in the journal", exc_info=True)

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
        shipments: dict[Path, Shipment] = {}
        while not self._stopping.is_set():
            for path in self._journals():
                shipment = Shipment(self._settings, path, self._halted)
                if path not in shipments and not self._is_kept(path) and path not in self._lost and shipment.claim():
                    shipments[path] = shipment
            moved = False
            for path, shipment in list(shipments.items()):
                moved |= self._guarded_step(shipment)
                if shipment.done or path in self._lost:
                    shipment.close()
                    del shipments[path]
            if not moved and not self._follow:
                self.finished = not self._lost
                break
            if not shipments:
                self._halted.wait(WAIT_MS / 1000)
        for shipment in shipments.values():
            shipment.close()

    def _ship_to_the_end(self, journals: list[Path]) -> None:
        """Ship journals whose writers are gone, the oldest first."""
        for path in journals:
            shipment = Shipment(self._settings, path, self._halted)
            if shipment.claim():
                while not (shipment.done or self._stopping.is_set() or path in self._lost):
                    self._guarded_step(shipment)
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
        """The journals whose writers are gone and that nobody forwards."""
        others = [path for path in self._journals() if path != self._own and path not in self._lost]
        return [path for path in others if not self._is_kept(path) and is_orphan(path)]

    def _is_kept(self, journal: Path) -> bool:
        """Whether a journal is shipped and only kept; deletes it when it was kept long enough."""
        try:
            age = time.time() - (journal / SHIPPED).stat().st_mtime
        except FileNotFoundError:
            return False
        if age >= self._settings.journal_retain:
            JournalReader(journal).delete_journal()
        return True


def is_orphan(journal: Path) -> bool:
    """Whether neither a writer nor a forwarder holds a journal."""
    for name in ("lock", FORWARD_LOCK):
        try:
            with (journal / name).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue
        except BlockingIOError:
            return False
    return True
