"""The two ways of delivering a journal's events: exactly once, and at least once (contract, section 6)."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from . import kafka
from .overdue import OverdueError, within
from .settings import Settings

Event = tuple[bytes, bytes | None]
"""The line, and its message key."""

log = logging.getLogger("pixelcore")

CHECKPOINT = "checkpoint"
CLAIM_SECONDS = 60.0
ANY_PARTITION = -1
"""Which one is for the partitioner to say."""
_TAKEN_BACK = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)


class FencedError(Exception):
    """Somebody else forwards this journal; the message says who."""


class Delivery(Protocol):
    """Takes the events of one journal to one topic. Any exception but `FencedError` means: open it anew and go on from there."""

    committed: int
    """The offset below which every event is in the topic."""

    def deliver(self, events: list[Event], offset: int) -> None:
        """Bring ``events``, which end at ``offset``, to the topic."""

    def close(self) -> None:
        """Let go of the connection; what is not committed is not delivered."""


class _Producing:
    """What both ways share: the producer, and the first thing that went wrong with a message."""

    def __init__(self, settings: Settings, topic: str, halted: Callable[[], bool], **properties: str) -> None:
        self._settings = settings
        self._topic = topic
        self._halted = halted
        self._failure: KafkaError | None = None
        self._producer: Producer = kafka.producer(settings, **properties)
        kafka.patiently(halted, lambda _: kafka.ensure_topics(settings, topic, self._producer))

    def close(self) -> None:
        # A fenced producer raises its fatal error here once more.
        with contextlib.suppress(KafkaException):
            self._producer.purge()
            self._producer.poll(0)
        del self._producer

    def _produce(self, events: list[Event]) -> None:
        self._failure = None
        # Not `produce_batch`, which makes six strings for each event to look into a dictionary with, and holds the GIL from
        # the first event to the last.
        produce, topic, delivered = self._producer.produce, self._topic, self._delivered
        try:
            for value, key in events:
                produce(topic, value, key, ANY_PARTITION, delivered)
        except BufferError as error:
            raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from error

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        # What a purge or an abort takes back is a consequence, not a cause.
        if error is not None and self._failure is None and error.code() not in _TAKEN_BACK:
            self._failure = error


class ExactlyOnce(_Producing):
    """A transaction a batch, which also writes the journal's offset to the checkpoint topic.

    The transactional id is the journal's. Whoever opens a journal therefore fences its predecessor, which can commit
    nothing more, and only then reads what was committed. The reading ends at that claim of ours: whatever was committed
    before it has been seen by then, however many other gateways write to the same partition.
    """

    def __init__(
        self, settings: Settings, topic: str, journal: Path, halted: Callable[[], bool], owner: str, fenced: bool
    ) -> None:
        """Claim a journal as ``owner``; ``fenced`` says that it was open before and then fenced."""
        self._journal = journal.name
        super().__init__(settings, topic, halted, transactional_id=f"pixelcore-{self._journal}")
        if fenced:
            self._yield_to_a_twin(owner)
        kafka.patiently(halted, self._producer.init_transactions)
        self._producer.begin_transaction()
        claim = uuid.uuid4().hex
        self._checkpoint(f"{self._journal}/owner", {"owner": owner, "claim": claim})
        kafka.patiently(halted, self._producer.commit_transaction)
        in_topic, _ = self._read_checkpoint(until=claim)
        # The journal may have been shipped at least once before.
        self.committed = max(in_topic, _on_disk(journal))

    def deliver(self, events: list[Event], offset: int) -> None:
        self._producer.begin_transaction()
        if events:
            self._produce(events)
        self._checkpoint(self._journal, {"offset": offset})
        try:
            kafka.patiently(self._halted, self._producer.commit_transaction)
        except KafkaException as error:
            if self._failure is not None and error.args[0].code() not in kafka.FENCED:
                raise KafkaException(self._failure) from error
            raise
        self.committed = offset

    def _checkpoint(self, key: str, value: dict[str, object]) -> None:
        self._producer.produce(
            self._settings.checkpoint_topic, json.dumps(value), key, partition=0, on_delivery=self._delivered
        )

    def _yield_to_a_twin(self, owner: str) -> None:
        """After being fenced: if somebody has claimed the journal since, it is theirs.

        If nobody has, the coordinator fenced us because a transaction took too long, and we may go on.
        """
        _, last = self._read_checkpoint(until=None)
        if last != owner:
            raise FencedError(last)

    def _read_checkpoint(self, until: str | None) -> tuple[int, str | None]:
        """The journal's committed offset and owner, read up to a claim or, without one, to where the partition ends now.

        Raises `KafkaException` when a claim is not seen for longer than any transaction before it can stay open: the
        claim of a twin may have replaced it. So it does when the consumer has locked up.
        """
        try:
            # While brokers fail librdkafka's consumers may lock up in any of their methods (confluentinc/librdkafka#5476).
            return within(CLAIM_SECONDS * 1.5, lambda: self._consume_checkpoint(until))
        except OverdueError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the consumer does not come back")) from None

    def _consume_checkpoint(self, until: str | None) -> tuple[int, str | None]:
        offset, owner = 0, None
        deadline = time.monotonic() + CLAIM_SECONDS
        consumer = Consumer(
            {
                **kafka.client_config(self._settings),
                "group.id": "pixelcore",  # required, but never joined
                "enable.auto.commit": "false",
                "isolation.level": "read_committed",
                "enable.partition.eof": "true",
            }
        )
        try:
            partition = TopicPartition(self._settings.checkpoint_topic, 0, OFFSET_BEGINNING)
            consumer.assign([partition])
            end = consumer.get_watermark_offsets(partition, timeout=10)[1] if until is None else 0
            while not self._halted():
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the claim does not show up"))
                message = consumer.poll(0.2)
                if message is None:
                    continue
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if error is None:
                    key, value = message.key(), message.value() or b""
                    if key == self._journal.encode():
                        offset = json.loads(value)["offset"]
                    elif key == f"{self._journal}/owner".encode():
                        record = json.loads(value)
                        owner = record["owner"]
                        if until is not None and record.get("claim") == until:
                            return offset, owner
                # librdkafka tells of the end after an empty fetch only, which a partition that others keep writing to may
                # never have; there a record behind that end comes instead.
                if until is None and (error is not None or (message.offset() or 0) >= end):
                    return offset, owner
            raise kafka.HaltedError
        finally:
            consumer.close()


class AtLeastOnce(_Producing):
    """An idempotent producer, and the journal's offset in a file beside its segments."""

    def __init__(self, settings: Settings, topic: str, journal: Path, halted: Callable[[], bool]) -> None:
        super().__init__(settings, topic, halted)
        self._file = journal / CHECKPOINT
        self.committed = _on_disk(journal)

    def deliver(self, events: list[Event], offset: int) -> None:
        self._produce(events)
        while self._producer.flush(1.0):
            if self._halted():
                raise kafka.HaltedError
        if self._failure is not None:
            raise KafkaException(self._failure)
        self.committed = offset
        new = self._file.with_suffix(".new")
        try:
            new.write_text(str(offset))
            new.replace(self._file)
        except OSError as error:
            # On a full disk the way out is to go on: what is shipped makes room.
            log.warning("%s: %s; a crash now would repeat events", self._file, error)


def _on_disk(journal: Path) -> int:
    """The offset in a journal's checkpoint file; 0 without one, or where a power cut left it empty."""
    try:
        return int((journal / CHECKPOINT).read_text())
    except (FileNotFoundError, ValueError):
        return 0
