"""Ships one journal: it reads batches, delivers them, retries after a failure, and deletes shipped segments.

The committed offset only grows, and a segment is deleted only below it. This module decides about retries and backoff. It does
not know how a batch is committed (`delivery`), and does not choose journals (`forwarder`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
import uuid

from confluent_kafka import KafkaError, KafkaException

from .. import folding
from .._core import JournalReader
from ..errors import PixelcoreError
from ..journals import JournalDirectory
from ..observing import counters
from . import kafka, undeliverable
from .advice import advise
from .delivery import AtLeastOnce, Delivery, Event, ExactlyOnce, OutdatedError, RefusedError
from .destination import Destination
from .policies import BATCH_BYTES, Backoff, BatchSize, Limits, Ownership, Pace
from .withdrawals import BehindError

log = logging.getLogger("pixelcore")

WAIT_MS = 100
LIMITS_SECONDS = 60.0
"""Seconds for which a topic's known limits are trusted after a refusal. Then its configuration is read again."""


class JournalShipper:
    """Ships one journal. Call `claim`, and then `step` until it is `done`."""

    def __init__(self, journal: JournalDirectory, destination: Destination) -> None:
        self.journal = journal
        self.done = False
        """Whether the writer has ended, and everything is shipped."""
        self.stuck = False
        """Whether the last error was not Kafka's, but the journal's or the machine's."""
        self.pace = Pace(destination.settings.batch_interval)
        self._to = destination
        self._reader = JournalReader(journal.path)
        self._owner = f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._ownership = Ownership()
        self._lock: int | None = None
        self._delivery: Delivery | None = None
        self._committed = 0
        self._clock = time.monotonic
        self._limits: dict[str, Limits] = {}
        self._limits_since = self._clock()
        self._batch_size = BatchSize()
        self._backoff = Backoff()
        self._known_damage = self._damage()
        self._all_damage = [0, 0, 0]

    def claim(self) -> bool:
        """Lock the journal; False if another process forwards it, or if it does not exist."""
        if self._lock is None:
            try:
                self._lock = self.journal.claim()
            except FileNotFoundError:
                pass
            except OSError as error:
                log.error("journal %s cannot be shipped: %s", self.journal.id, error)
        return self._lock is not None

    def step(self) -> bool:
        """Ship one batch, or wait a little for one; False if there was none.

        Sets `done` when the writer has ended and everything is shipped. Raises `FencedError` if another process has taken
        the journal over.
        """
        try:
            if self._delivery is None:
                self._delivery = self._open()
                self._ownership.opened()
                self._go_on_from(self._delivery.committed)
                self._note()
            return self._ship(self._delivery)
        except kafka.HaltedError:
            self.close()
        except OutdatedError:
            self._close_delivery()
        except BehindError as error:
            self._to.progress.failed(str(error))
            self._go_on_from(self._committed)
            self._to.halted.wait(WAIT_MS / 1000)
        except (KafkaException, PixelcoreError, OSError) as error:
            self._start_over(error)
        return not self.stuck

    def close(self) -> None:
        """Close the connection and release the journal. Commits stay in force."""
        self._close_delivery()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_delivery(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.close()

    def _open(self) -> Delivery:
        if self._to.delivery == "at-least-once":
            return AtLeastOnce(self._to, self._limits, self.journal, self._committed)
        lost = self._ownership.may_be_lost
        return ExactlyOnce(self._to, self._limits, self.journal, self._owner, self._committed, lost)

    def _ship(self, delivery: Delivery) -> bool:
        if delivery.topics != self._to.routing.all():
            raise OutdatedError
        self._to.halted.wait(self.pace.wait())
        self.pace.begin()
        events = self._reader.messages(self._batch_size.events, BATCH_BYTES)
        offset = self._reader.offset
        if not events:
            self._report_damage()
            self._to.progress.moved()
            self.pace.paused()
            if self._reader.finished():
                self._finish()
                return False
            return self._reader.wait(WAIT_MS)
        self._to.progress.tries(f"shipping journal {self.journal.id} from offset {delivery.committed}")
        # A batch of large events ends before the line that would exceed the bytes, so half of them counts as full.
        is_full = len(events) == self._batch_size.events or offset - delivery.committed > BATCH_BYTES / 2
        self.pace.read(is_full or not self._reader.live)
        events = self._to.withdrawals.sift(events)
        if self._to.reduced:
            events = [folding.record(line) for line, *_ in events]
        with counters.timed("transaction_seconds"):
            count = self._deliver(delivery, events, offset)
        counters.shipped(self.journal.kind, count)
        self._committed = delivery.committed
        self._report_damage()
        self._note()
        self._backoff.succeeded()
        self._batch_size.succeeded()
        self._ownership.committed()
        self._to.progress.moved()
        self.pace.succeeded(is_full)
        self.stuck = False
        self._reader.delete_before(delivery.committed, int(self._to.retain * 1000))
        return True

    def _deliver(self, delivery: Delivery, events: list[Event], offset: int) -> int:
        """Deliver a batch, and set aside the events that its topic refuses. Returns the number of delivered events."""
        while True:
            try:
                delivery.deliver(events, offset)
                return len(events)
            except RefusedError as error:
                if error.is_known and self._clock() - self._limits_since > LIMITS_SECONDS:
                    # Somebody may have repaired the topic since its limits were read.
                    self._limits, self._limits_since = {}, self._clock()
                    self._to.topics.forget()
                    raise OutdatedError from None
                self._set_aside(error.refused)
                events = error.rest

    def _go_on_from(self, offset: int) -> None:
        self._committed = offset
        self._reader.seek(offset)
        self._known_damage = self._damage()

    def _note(self) -> None:
        """Write the committed offset to the disk. At-least-once delivery continues from it, and the lag is computed from it."""
        try:
            with contextlib.suppress(FileNotFoundError):  # it was dropped to keep the budget
                self.journal.commit(self._committed)
        except OSError as error:
            # On a full disk the remedy is to continue, because shipped segments make room.
            log.warning("journal %s: the committed offset cannot be written to the disk: %s", self.journal.id, error)

    def _finish(self) -> None:
        if self._to.retain > 0:
            # A budget that drops the oldest records may also drop whole journals.
            with contextlib.suppress(FileNotFoundError):
                self.journal.mark_shipped()
        else:
            self.journal.delete()
        self._report_damage(at_last=True)
        self.done = True
        self.close()

    def _set_aside(self, refused: list[tuple[Event, KafkaError]]) -> None:
        """Keep events that their topic permanently refuses, so that they do not block the events after them."""
        if self._to.reduced:
            raise PixelcoreError(f"{self._to.routing.default} refuses {self.journal.kind}: {refused[-1][1].str()}")
        path = undeliverable.keep(self._to.settings, self.journal.kind, [event[0] for event, _ in refused])
        for _, error in refused:
            counters.undeliverable(error.name())
        log.error(
            "the topic refuses %d events of journal %s, which are kept in %s: %s",
            *(len(refused), self.journal.id, path, refused[-1][1].str()),
            extra={"journal": self.journal.id, "events": len(refused)},
        )

    def _start_over(self, error: Exception) -> None:
        """Wait for the backoff, and then continue at the committed offset with a smaller batch."""
        cause = error.args[0] if isinstance(error, KafkaException) else None
        counters.delivery_failed(counters.JOURNAL if cause is None else cause.name())
        told = str(error) if cause is None else advise(cause)
        self._to.progress.tries(f"shipping journal {self.journal.id} from offset {self._committed}")
        self._to.progress.failed(told)
        log.warning("journal %s: %s; trying again", self.journal.id, told, extra={"journal": self.journal.id})
        if cause is not None and cause.code() in kafka.FENCED:
            self._ownership.fenced()
        if self._delivery is not None and cause is not None and self._delivery.survived:
            self._go_on_from(self._committed)
        else:
            self._close_delivery()
        self._to.topics.forget()
        self.stuck = cause is None
        self.pace.paused()
        self._batch_size.failed()
        self._to.halted.wait(self._backoff.failed())

    def _damage(self) -> tuple[int, int, int]:
        return self._reader.torn, self._reader.corrupt, self._reader.missing

    def _report_damage(self, at_last: bool = False) -> None:
        """Count the damage among the lines that were dealt with. Lines that are read again are not dealt with yet."""
        new = [now - before for now, before in zip(self._damage(), self._known_damage, strict=True)]
        self._known_damage = self._damage()
        if any(new):
            counters.damaged(*new)
            self._all_damage = [count + more for count, more in zip(self._all_damage, new, strict=True)]
        if any(new) or (at_last and any(self._all_damage)):
            log.warning(
                "journal %s at offset %d: %d bytes of a torn line, %d corrupt lines, %d bytes of missing segments %s",
                self.journal.id,
                self._reader.offset,
                *self._all_damage,
                "in all" if at_last else "so far",
            )
