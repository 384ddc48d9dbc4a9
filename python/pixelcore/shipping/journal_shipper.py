"""Ships one journal: reads batches, delivers them, starts over after a failure, deletes what is shipped."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
import uuid
from dataclasses import dataclass

from confluent_kafka import KafkaException

from .._core import JournalReader
from ..datadir import UNDELIVERABLE
from ..errors import JournalError
from ..journals import JournalDirectory
from ..observing import counters
from ..settings import Settings
from . import kafka
from .delivery import AtLeastOnce, Delivery, ExactlyOnce
from .policies import BATCH_BYTES, Backoff, BatchSize, Ownership, Pace

log = logging.getLogger("pixelcore")

WAIT_MS = 100


@dataclass(frozen=True)
class Destination:
    """Where a journal is shipped to, and when that has to end."""

    settings: Settings
    topic: str
    halted: threading.Event
    """Set when the time for finishing is over."""


class JournalShipper:
    """Ships one journal: claim it, then step until it is done."""

    def __init__(self, journal: JournalDirectory, destination: Destination) -> None:
        self.journal = journal
        self.done = False
        """Whether the writer is gone, and all is shipped."""
        self.stuck = False
        """Whether the last thing that went wrong was not Kafka's."""
        self.pace = Pace()
        self._to = destination
        self._reader = JournalReader(journal.path)
        self._owner = f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._ownership = Ownership()
        self._lock: int | None = None
        self._delivery: Delivery | None = None
        self._batch_size = BatchSize()
        self._backoff = Backoff()
        self._reported = (0, 0, 0)

    def claim(self) -> bool:
        """Take the journal, unless another process forwards it or it is not there."""
        if self._lock is None:
            try:
                self._lock = self.journal.claim()
            except FileNotFoundError:
                pass
            except OSError as error:
                log.error("journal %s cannot be shipped: %s", self.journal.id, error)
        return self._lock is not None

    def step(self) -> bool:
        """Ship one batch, or wait a little for one; False when there was none.

        Sets `done` when the writer is gone and all is shipped. Raises `FencedError` when another process has taken the
        journal over.
        """
        try:
            if self._delivery is None:
                self._delivery = self._open()
                self._ownership.opened()
                self._reader.seek(self._delivery.committed)
                self._note(self._delivery.committed)
            return self._ship(self._delivery)
        except kafka.HaltedError:
            self.close()
        except (KafkaException, JournalError, OSError) as error:
            self._start_over(error)
        return not self.stuck

    def close(self) -> None:
        """Close the connection and release the journal; what is committed stays so."""
        self._close_delivery()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_delivery(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.close()

    def _open(self) -> Delivery:
        settings, topic, halted = self._to.settings, self._to.topic, self._to.halted.is_set
        if settings.delivery == "at-least-once":
            return AtLeastOnce(settings, topic, self.journal, halted)
        return ExactlyOnce(settings, topic, self.journal, halted, self._owner, self._ownership.may_be_lost)

    def _ship(self, delivery: Delivery) -> bool:
        self._to.halted.wait(self.pace.wait())
        self.pace.begin()
        events = self._reader.messages(self._batch_size.events, BATCH_BYTES)
        offset = self._reader.offset
        self._report_passed_over()
        if not events:
            self.pace.paused()
            if self._reader.finished():
                self._finish()
                return False
            return self._reader.wait(WAIT_MS)
        # A batch of large events ends a line before it has as many bytes.
        is_full = len(events) == self._batch_size.events or offset - delivery.committed > BATCH_BYTES / 2
        self.pace.read(is_full)
        try:
            with counters.timed("transaction_seconds"):
                delivery.deliver(events, offset)
            counters.shipped(self.journal.kind, len(events))
        except KafkaException as error:
            if len(events) > 1 or error.args[0].code() not in kafka.UNDELIVERABLE:
                raise
            self._set_aside(events[0][0], error)
            self._close_delivery()
            self._delivery = delivery = self._open()
            delivery.deliver([], offset)
        self._note(delivery.committed)
        self._backoff.succeeded()
        self._batch_size.succeeded()
        self._ownership.committed()
        self.pace.succeeded(is_full)
        self.stuck = False
        self._reader.delete_before(delivery.committed, int(self._to.settings.journal_retain * 1000))
        return True

    def _note(self, offset: int) -> None:
        """Note on the disk what is committed: at least once goes on from there, and the lag is seen by it."""
        try:
            with contextlib.suppress(FileNotFoundError):  # it was dropped for the budget
                self.journal.commit(offset)
        except OSError as error:
            # On a full disk the way out is to go on: what is shipped makes room.
            log.warning("journal %s: the committed offset cannot be noted: %s", self.journal.id, error)

    def _finish(self) -> None:
        if self._to.settings.journal_retain > 0:
            # A budget that drops the oldest takes whole journals, too.
            with contextlib.suppress(FileNotFoundError):
                self.journal.mark_shipped()
        else:
            self.journal.delete()
        self._report_passed_over(at_last=True)
        self.done = True
        self.close()

    def _set_aside(self, event: bytes, error: KafkaException) -> None:
        """Keep an event that no broker will ever take, rather than hold up all that come after it."""
        aside = self._to.settings.data_dir / UNDELIVERABLE
        counters.undeliverable(error.args[0].name())
        with aside.open("ab") as file:
            file.write(event + b"\n")
        log.error("an event of journal %s went to %s: %s", self.journal.id, aside, error.args[0].str())

    def _start_over(self, error: Exception) -> None:
        """Close everything, and go on from what is committed after a while, with a smaller batch."""
        cause = error.args[0] if isinstance(error, KafkaException) else None
        counters.delivery_failed(counters.JOURNAL if cause is None else cause.name())
        log.warning("journal %s: %s; trying again", self.journal.id, error if cause is None else cause.str())
        self._close_delivery()
        self.stuck = cause is None
        self.pace.paused()
        self._batch_size.failed()
        if cause is not None and cause.code() in kafka.FENCED:
            self._ownership.fenced()
        # An event that the broker refuses is searched for, not waited for.
        if cause is None or cause.code() not in kafka.UNDELIVERABLE:
            self._to.halted.wait(self._backoff.failed())

    def _report_passed_over(self, at_last: bool = False) -> None:
        now = (self._reader.torn, self._reader.corrupt, self._reader.missing)
        if now != self._reported or (at_last and any(now)):
            self._reported = now
            log.warning(
                "journal %s at offset %d: %d bytes of a torn line, %d corrupt lines, %d bytes of missing segments %s",
                self.journal.id,
                self._reader.offset,
                *now,
                "in all" if at_last else "so far",
            )
