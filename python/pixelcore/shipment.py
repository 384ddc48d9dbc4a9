"""One journal on its way to Kafka: what is read, when it is tried again, and what is deleted."""

from __future__ import annotations

import contextlib
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

from . import counters, kafka, lag
from ._core import JournalReader
from .delivery import AtLeastOnce, Delivery, ExactlyOnce
from .errors import JournalError
from .settings import Settings

log = logging.getLogger("pixelcore")

# More in flight would cost a worker memory (5,000 took 5 MB) and more CPU time an event, and ships no faster.
BATCH_EVENTS = 2500
# Fits in one request, keys and Kafka's framing included (`batch.size`, 1,000,000): of what is left over librdkafka's thread
# asks in a loop whether the first request is answered yet, since an idempotent producer has one batch a partition under way.
BATCH_BYTES = 900_000
WAIT_MS = 100
# From the beginning of a batch to that of the next, unless it was full. However small, a batch costs some 1 ms of CPU: its
# requests, and librdkafka's threads that wake each other.
SPACING_SECONDS = 0.02
SHIPPED = "shipped"
FORWARD_LOCK = "forward.lock"


class Shipment:
    """One journal on its way: claim it, then step until it is done."""

    def __init__(self, settings: Settings, topic: str, journal: Path, halted: threading.Event) -> None:
        self.journal = journal
        self.done = False
        self.stuck = False
        """Whether the last thing that went wrong was not Kafka's."""
        self.full_since: float | None = None
        """Since when each batch was full (monotonic seconds); None when the last one was not, or failed."""
        self._settings = settings
        self._topic = topic
        self._halted = halted
        self._claim: IO[str] | None = None
        self._reader = JournalReader(journal)
        self._delivery: Delivery | None = None
        self._owner = f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._opened = False
        self._fenced = False
        self._batch = BATCH_EVENTS
        self._next = 0.0
        self._backoff = 0.1
        self._passed_over = (0, 0, 0)

    def claim(self) -> bool:
        """Take the journal, unless another process forwards it or it is not there."""
        if self._claim is not None:
            return True
        try:
            claim = (self.journal / FORWARD_LOCK).open("w")
        except FileNotFoundError:
            return False
        except OSError as error:
            log.error("journal %s cannot be shipped: %s", self.journal.name, error)
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
                self._opened = True
                self._reader.seek(self._delivery.committed)
                lag.note(self.journal, self._delivery.committed)
            return self._ship(self._delivery)
        except kafka.HaltedError:
            self.close()
        except (KafkaException, JournalError, OSError) as error:
            self._recover(error)
        return not self.stuck

    def close(self) -> None:
        """Let go of everything; what is committed stays so."""
        self._drop_delivery()
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _drop_delivery(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.close()

    def _open(self) -> Delivery:
        if self._settings.delivery == "at-least-once":
            return AtLeastOnce(self._settings, self._topic, self.journal, self._halted.is_set)
        halted = self._halted.is_set
        return ExactlyOnce(self._settings, self._topic, self.journal, halted, self._owner, self._fenced)

    def _ship(self, delivery: Delivery) -> bool:
        self._halted.wait(max(0.0, self._next - time.monotonic()))
        began = time.monotonic()
        events = self._reader.messages(self._batch, BATCH_BYTES)
        offset = self._reader.offset
        self._report_passed_over()
        if events:
            # A batch of large events ends a line before it has as many bytes.
            is_full = len(events) == self._batch or offset - delivery.committed > BATCH_BYTES / 2
            self._next = began if is_full else began + SPACING_SECONDS
            try:
                with counters.timed("transaction_seconds"):
                    delivery.deliver(events, offset)
                counters.shipped(self.journal.parent.name, len(events))
            except KafkaException as error:
                if len(events) > 1 or error.args[0].code() not in kafka.UNDELIVERABLE:
                    raise
                self._set_aside(events[0][0], error)
                self._drop_delivery()
                self._delivery = delivery = self._open()
                delivery.deliver([], offset)
            lag.note(self.journal, delivery.committed)
            self._backoff, self._fenced, self.stuck = 0.1, False, False
            self.full_since = (self.full_since or began) if is_full else None
            self._batch = min(BATCH_EVENTS, self._batch * 2)
            self._reader.delete_before(delivery.committed, int(self._settings.journal_retain * 1000))
            return True
        self.full_since = None
        if self._reader.finished():
            self._finish()
            return False
        return self._reader.wait(WAIT_MS)

    def _finish(self) -> None:
        if self._settings.journal_retain > 0:
            # A budget that drops the oldest takes whole journals, too.
            with contextlib.suppress(FileNotFoundError):
                (self.journal / SHIPPED).touch()
        else:
            self._reader.delete_journal()
        self._report_passed_over(at_last=True)
        self.done = True
        self.close()

    def _set_aside(self, event: bytes, error: KafkaException) -> None:
        """Keep an event that no broker will ever take, rather than block all that come after it."""
        aside = self.journal.parent.parent / "undeliverable.ndjson"
        counters.undeliverable(error.args[0].name())
        with aside.open("ab") as file:
            file.write(event + b"\n")
        log.error("an event of journal %s went to %s: %s", self.journal.name, aside, error.args[0].str())

    def _recover(self, error: Exception) -> None:
        """Start over from what is committed. After every failure the batch is halved, so that one event, or a broker
        that is too slow for large transactions, holds up nothing else."""
        counters.delivery_failed(error.args[0].name() if isinstance(error, KafkaException) else counters.JOURNAL)
        text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        log.warning("journal %s: %s; trying again", self.journal.name, text)
        self._drop_delivery()
        self.full_since = None
        self.stuck = not isinstance(error, KafkaException)
        # Before it was opened there was nothing to be fenced off from: whoever comes last may have it.
        if isinstance(error, KafkaException) and error.args[0].code() in kafka.FENCED:
            self._fenced = self._opened
        self._batch = max(1, self._batch // 2)
        refused = isinstance(error, KafkaException) and error.args[0].code() in kafka.UNDELIVERABLE
        if not refused:  # that one is looked for, not waited for
            self._halted.wait(self._backoff)
            self._backoff = min(2.0, self._backoff * 2)

    def _report_passed_over(self, at_last: bool = False) -> None:
        now = (self._reader.torn, self._reader.corrupt, self._reader.missing)
        if now != self._passed_over or (at_last and any(now)):
            self._passed_over = now
            log.warning(
                "journal %s at offset %d: %d bytes of a torn line, %d corrupt lines, %d bytes of missing segments %s",
                self.journal.name,
                self._reader.offset,
                *now,
                "in all" if at_last else "so far",
            )
