"""The two ways of delivering a journal's batches: exactly once, and at least once (contract, section 6).

A delivery produces a batch and commits it. It knows which events a topic refuses, and reports them as `RefusedError`. It does not
know where events come from: `journal_shipper` reads them, and decides about retries.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ..journals import JournalDirectory
from . import checkpoints, kafka
from .advice import NO_TRANSACTIONS
from .destination import Destination
from .policies import Limits

Event = tuple[bytes, "bytes | None", int, "str | None"]
"""The line, its message key, its time of receipt in Unix milliseconds, and its pipeline."""

log = logging.getLogger("pixelcore")

ANY_PARTITION = -1
"""The partitioner chooses the partition."""
FRAMING_BYTES = 68
"""The least framing of a record that is alone in its batch: 61 bytes of the batch (KIP-98), and lengths."""
_TAKEN_BACK = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
_TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE


class FencedError(Exception):
    """Another process forwards this journal; the message names it."""


class RefusedError(Exception):
    """The topic permanently refuses some of the events. ``rest`` is to be delivered again, without them.

    ``is_known`` says that they were not tried, because the topic's limits are known.
    """

    def __init__(self, refused: list[tuple[Event, KafkaError]], rest: list[Event], *, is_known: bool = False) -> None:
        super().__init__()
        self.refused = refused
        self.rest = rest
        self.is_known = is_known


class OutdatedError(Exception):
    """The topics have changed since a delivery was opened. A new delivery continues at once."""


class Delivery(Protocol):
    """Delivers the events of one journal to their topics.

    After a `KafkaException`, it is used again if it `survived`. If not, it is closed, and a new one continues.
    """

    committed: int
    """The offset below which every event is in its topic."""
    survived: bool
    """Whether the last failure was rolled back, so that this delivery can continue."""
    topics: list[str]
    """The topics that it was opened for. Missing ones were created."""

    def deliver(self, events: list[Event], offset: int) -> None:
        """Deliver ``events``, which end at ``offset``. Raises `KafkaException`, `RefusedError` and `OutdatedError`."""

    def close(self) -> None:
        """Close the connection. Uncommitted events are not delivered."""


class _Producing:
    """The common part of both ways: the producer, and the failure of each event."""

    def __init__(self, to: Destination, limits: dict[str, Limits], **properties: str) -> None:
        self._to = to
        self._limits = limits
        self.survived = True
        self._failures: list[tuple[bytes, KafkaError]] = []
        settings = to.settings
        self._compresses = any(
            settings.kafka.get(name, "none") != "none" for name in ("compression.type", "compression.codec")
        )
        self._stamps = True
        self.topics = to.routing.all()
        names = [*self.topics, *([settings.checkpoint_topic] if to.delivery == "exactly-once" else [])]
        to.progress.tries("describing the topics")
        self._topics = to.topics.describe(names)
        for name in self.topics:
            topic = self._topics[name]
            self._limits_of(name).configured(topic.record_bytes, bool(topic.is_compacted))
        batch_bytes = min(limit.batch_bytes for limit in limits.values())
        chosen = int(settings.kafka.get("batch.size", batch_bytes))
        properties["batch_size"] = str(min(batch_bytes, chosen))
        self._producer: Producer = kafka.producer(settings, to.heard, **properties)

    def close(self) -> None:
        # A fenced producer raises its fatal error here once more.
        with contextlib.suppress(KafkaException):
            self._producer.purge()
            self._producer.poll(0)
        del self._producer

    def _limits_of(self, topic: str) -> Limits:
        return self._limits.setdefault(topic, Limits())

    def _patiently(self, call: Callable[[float], object]) -> None:
        kafka.patiently(self._to.halted.is_set, call, self._producer)

    def _sort_out(self, events: list[Event]) -> None:
        """Raise `RefusedError` for events that the topic is known to refuse."""
        topics, default = self._to.routing.topics(), self._to.routing.default
        refused: list[tuple[Event, KafkaError]] = []
        rest = []
        for event in events:
            _, key, _, pipeline = event
            limits = self._limits_of(topics.get(pipeline, default) if pipeline is not None else default)
            # A record that is too large may still fit when it is compressed.
            if limits.takes(0 if self._compresses else size(event), key is not None):
                rest.append(event)
            else:
                code = KafkaError.INVALID_RECORD if limits.needs_key and key is None else _TOO_LARGE
                refused.append((event, KafkaError(code)))
        if refused:
            raise RefusedError(refused, rest, is_known=True)

    def _produce(self, events: list[Event]) -> None:
        # Not `produce_batch`: it makes six strings per event for dictionary look-ups, and holds the GIL for the whole batch.
        produce, delivered = self._producer.produce, self._delivered
        topics, default = self._to.routing.topics(), self._to.routing.default
        for value, key, received_at, pipeline in events:
            topic = topics.get(pipeline, default) if topics and pipeline is not None else default
            timestamp = received_at if self._stamps else 0
            try:
                produce(topic, value, key, ANY_PARTITION, delivered, timestamp=timestamp)
            except BufferError:
                self._make_room()
                produce(topic, value, key, ANY_PARTITION, delivered, timestamp=timestamp)
            except KafkaException as error:
                if error.args[0].code() != _TOO_LARGE:
                    raise
                self._failures.append((value, error.args[0]))

    def _make_room(self) -> None:
        """Flush the whole queue before the end of the batch, after `queue.buffering.max.messages` or `.kbytes` is reached."""
        while self._producer.flush(1.0):
            if self._to.halted.is_set():
                raise kafka.HaltedError

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        # A purge or an abort is a consequence of a failure, not its cause.
        if error is not None and error.code() not in _TAKEN_BACK:
            self._failures.append((message.value() or b"", error))

    def _explain(self, events: list[Event]) -> None:
        """Raise the error that the failures of a batch stand for, if any. ``events`` are the undelivered ones."""
        failures, self._failures = self._failures, []
        if not failures:
            return
        codes = {error.code() for _, error in failures}
        # For reduced records the time of delivery would reveal what their mode leaves out.
        if KafkaError.INVALID_TIMESTAMP in codes and self._stamps and not self._to.reduced:
            log.warning(
                "a topic refuses the time at which events were received: they get the time of their delivery instead"
            )
            self._stamps = False
        by_line = {event[0]: event for event in events}
        large = [by_line[line] for line, error in failures if error.code() == _TOO_LARGE and line in by_line]
        # A broker names the invalid records, and also refuses the others of their batch (KIP-467). Older brokers name none.
        named = len(events) == 1 or KafkaError._INVALID_DIFFERENT_RECORD in codes
        wrong = {line for line, error in failures if error.code() == KafkaError.INVALID_RECORD and named}
        if large:
            default = self._to.routing.default
            topics = self._to.routing.topics()
            of_topic: dict[str, list[Event]] = {}
            for event in large:
                topic = topics.get(event[3], default) if event[3] is not None else default
                of_topic.setdefault(topic, []).append(event)
            for topic, those in of_topic.items():
                alone = self._limits_of(topic).refused([size(event) for event in those])
                if not (alone or len(events) == 1):
                    raise OutdatedError
            wrong |= {event[0] for event in large}
        if wrong:
            reasons = dict(failures)
            refused = [(event, reasons[event[0]]) for event in events if event[0] in wrong]
            raise RefusedError(refused, [event for event in events if event[0] not in wrong])
        raise KafkaException(failures[0][1])


def size(event: Event) -> int:
    """The least bytes of an event's record that is alone in its batch."""
    return len(event[0]) + len(event[1] or b"") + FRAMING_BYTES


class ExactlyOnce(_Producing):
    """One transaction per batch, which also writes the journal's offset to the checkpoint topic.

    The transactional id is the journal's. So a process that opens a journal fences its predecessor, which can no longer
    commit. Only then does it read the checkpoint.
    """

    def __init__(
        self,
        to: Destination,
        limits: dict[str, Limits],
        journal: JournalDirectory,
        owner: str,
        known: int,
        may_be_lost: bool,
    ) -> None:
        """Claim a journal as ``owner``.

        ``known`` is the offset below which this process knows that every event is in its topic. ``may_be_lost`` says that the
        journal was open here before and then fenced. Raises `FencedError` if a twin owns it, and `KafkaException`.
        """
        self._journal = journal.id
        super().__init__(to, limits, transactional_id=f"pixelcore-{journal.id}")
        try:
            topic = self._topics[to.settings.checkpoint_topic]
            self._partition = checkpoints.partition_of(journal.id, topic.partitions)
            if may_be_lost:
                self._yield_to_a_twin(owner)
            to.progress.tries(f"claiming journal {journal.id}", NO_TRANSACTIONS)
            kafka.connect(self._producer, to.settings.checkpoint_topic)
            self._patiently(self._producer.init_transactions)
            self._producer.begin_transaction()
            record, claim = checkpoints.claim_record(journal.id, owner)
            self._checkpoint(record)
            self._commit()
            to.progress.tries(f"reading the checkpoints of journal {journal.id}")
            in_topic = 0
            if self._partition != 0 and not to.own:
                # The topic may have had fewer partitions when the journal was shipped. This comes first, because a reader that
                # has found its claim still waits for more records, and so for the answers to its next requests.
                in_topic = to.checkpoints.to_end(journal.id, 0).offset
            in_topic = max(in_topic, to.checkpoints.before_claim(journal.id, claim, self._partition).offset)
        except BaseException:
            self.close()
            raise
        finally:
            if to.own:
                to.checkpoints.close()
        # The checkpoints may have been deleted, or the journal may have been shipped at least once until now.
        self.committed = max(in_topic, journal.committed, known)

    def deliver(self, events: list[Event], offset: int) -> None:
        self._sort_out(events)
        self.survived = False
        self._producer.begin_transaction()
        try:
            self._produce(events)
            if self._failures:
                raise KafkaException(self._failures[0][1])
            self._checkpoint(checkpoints.offset_record(self._journal, offset))
            self._commit()
        except KafkaException as error:
            if error.args[0].code() in kafka.FENCED or error.args[0].fatal():
                raise
            self._abort()
            self._explain(events)
            raise
        self.survived = True
        self.committed = offset

    def _commit(self) -> None:
        self._patiently(self._producer.commit_transaction)

    def _abort(self) -> None:
        """Abort the transaction. Otherwise the next one would wait half a second until the coordinator does it."""
        self._patiently(self._producer.abort_transaction)
        self.survived = True

    def _checkpoint(self, record: checkpoints.Record) -> None:
        def produce() -> None:
            self._producer.produce(
                self._to.settings.checkpoint_topic,
                record.value,
                record.key,
                partition=self._partition,
                on_delivery=self._delivered,
                timestamp=checkpoints.timestamp(self._journal, time.time()),
            )

        try:
            produce()
        except BufferError:
            self._make_room()
            produce()

    def _yield_to_a_twin(self, owner: str) -> None:
        """Raise `FencedError` if another process has claimed the journal since this one was fenced.

        If not, the coordinator fenced this process because a transaction took too long, and it may continue.
        """
        last = self._to.checkpoints.to_end(self._journal, self._partition)
        if last.owner != owner:
            raise FencedError(last.owner)


class AtLeastOnce(_Producing):
    """An idempotent producer. The checkpoint is a file next to the segments."""

    def __init__(self, to: Destination, limits: dict[str, Limits], journal: JournalDirectory, known: int) -> None:
        super().__init__(to, limits)
        self.committed = max(journal.committed, known)

    def deliver(self, events: list[Event], offset: int) -> None:
        self._sort_out(events)
        self.survived = False
        self._failures = []
        self._produce(events)
        self._make_room()
        self.survived = True
        failed = {line for line, _ in self._failures}
        # The other events have arrived, and are not sent again.
        self._explain([event for event in events if event[0] in failed])
        self.committed = offset
