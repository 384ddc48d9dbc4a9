"""The checkpoint topic: records ``journal id -> offset``, and ``journal id/owner -> owner and claim``.

All gateways write to it. The records of one journal are in one partition. A ``read_committed`` reader stops before the oldest
open transaction of a partition, even of another producer. So a process that opens a journal first commits a claim, and then reads up to
this claim. By then it has read all earlier commits. It starts to read at the journal's birth, which its UUIDv7 contains, so the
age of the topic does not matter.

This module knows no events and no segments: it maps a journal's id to an offset and an owner.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Message, TopicPartition

from ..settings import Settings
from ..timeouts import CallTimeoutError, call_while_it_progresses, call_with_timeout
from . import kafka
from .topics import CHECKPOINT_PARTITIONS

QUIET_SECONDS = 60.0
"""Seconds. Longer than any transaction of a gateway stays open: a claim that does not show up for so long never will."""
MARGIN_MS = 60_000
"""Milliseconds. By another machine's clock, a journal's first checkpoint may be older than its birth."""
REQUEST_SECONDS = 10.0
CLOSE_SECONDS = 10.0
AHEAD_MS = 30 * 60_000
_POLL_SECONDS = 0.2
_NO_LEADER_YET = (KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION)

T = TypeVar("T")


class Record(NamedTuple):
    """A record for the checkpoint topic."""

    key: str
    value: str


class Checkpoint(NamedTuple):
    """The state of a journal according to the checkpoint topic."""

    offset: int = 0
    """Every event below this offset is in its topic."""
    owner: str | None = None
    """The process that claimed the journal last."""
    claim: str | None = None
    """The id of that claim."""

    def after(self, journal: str, key: bytes | None, value: bytes) -> Checkpoint:
        """The state after one more record."""
        if key == journal.encode():
            return self._replace(offset=json.loads(value)["offset"])
        if key == f"{journal}/owner".encode():
            record = json.loads(value)
            return self._replace(owner=record["owner"], claim=record.get("claim"))
        return self


def offset_record(journal: str, offset: int) -> Record:
    """A record that says: every event of a journal below ``offset`` is in its topic."""
    return Record(journal, json.dumps({"offset": offset}))


def claim_record(journal: str, owner: str) -> tuple[Record, str]:
    """A record that says: ``owner`` has a journal from now on. Also returns the claim's id."""
    claim = uuid.uuid4().hex
    return Record(f"{journal}/owner", json.dumps({"owner": owner, "claim": claim})), claim


def partition_of(journal: str, partitions: int) -> int:
    """The partition of a journal's checkpoints. A topic with fewer than 25 partitions, as made by 0.1.0, has all in the first.

    Other topics have none there, so it costs nothing to look whether the topic once had fewer.
    """
    if partitions < CHECKPOINT_PARTITIONS:
        return 0
    number = zlib.crc32(journal.encode())
    return number % CHECKPOINT_PARTITIONS or 1 + number // CHECKPOINT_PARTITIONS % (CHECKPOINT_PARTITIONS - 1)


def born_ms(journal: str) -> int | None:
    """The beginning of a journal in Unix milliseconds; None if its name has no time."""
    with contextlib.suppress(ValueError):
        identity = uuid.UUID(journal)
        if identity.version == 7:
            return identity.int >> 80
    return None


def timestamp(journal: str, now: float) -> int:
    """The timestamp of a checkpoint's record, in Unix milliseconds.

    It is never before the journal's birth, where readers start. If the clock was set back since then, it is at most as far ahead
    as brokers allow (`message.timestamp.after.max.ms`, an hour).
    """
    now_ms = int(now * 1000)
    return max(now_ms, min(born_ms(journal) or 0, now_ms + AHEAD_MS))


class Checkpoints:
    """Reads checkpoints for one thread. Its consumer stays open between journals."""

    def __init__(self, settings: Settings, halted: Callable[[], bool], on_error: kafka.OnError) -> None:
        self._settings = settings
        self._halted = halted
        self._on_error = on_error
        self._consumer: Consumer | None = None
        self._records = 0

    def close(self) -> None:
        """Close the consumer."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(CallTimeoutError):  # a consumer may lock up in any method
                call_with_timeout(CLOSE_SECONDS, consumer.close)

    def before_claim(self, journal: str, claim: str, partition: int) -> Checkpoint:
        """The checkpoint of a journal as committed before a claim.

        Raises `KafkaException` if the claim does not show up: a twin's claim may have replaced it, or another producer's
        transaction stays open.
        """

        def consume(consumer: Consumer) -> Checkpoint:
            start = self._start(consumer, journal, partition)
            while True:
                found = Checkpoint()
                for message in self._messages(consumer, partition, start):
                    if message is None:
                        continue
                    found = found.after(journal, message.key(), message.value() or b"")
                    if found.claim == claim:
                        break
                # If brokers put their own times into records, a journal's birth is useless as a start.
                if start == 0 or message is None or message.timestamp()[0] != TIMESTAMP_LOG_APPEND_TIME:
                    return found
                start = 0

        return self._patiently(consume)

    def to_end(self, journal: str, partition: int) -> Checkpoint:
        """The checkpoint of a journal as committed now. Raises `KafkaException`."""

        def consume(consumer: Consumer) -> Checkpoint:
            found = Checkpoint()
            where = TopicPartition(self._settings.checkpoint_topic, partition)
            end = self._ask(lambda: consumer.get_watermark_offsets(where, timeout=REQUEST_SECONDS))[1]
            start = self._start(consumer, journal, partition)
            if start >= end:
                return found
            for message in self._messages(consumer, partition, start):
                # librdkafka reports the end only after an empty fetch. A partition that others keep writing to may never have
                # one. There, a record after that end arrives instead.
                if message is None:
                    return found
                found = found.after(journal, message.key(), message.value() or b"")
                if (message.offset() or 0) >= end:
                    return found
            raise AssertionError

        return self._patiently(consume)

    def _patiently(self, consume: Callable[[Consumer], Checkpoint]) -> Checkpoint:
        consumer = self._consumer
        if consumer is None:
            consumer = self._consumer = Consumer(
                {
                    **kafka.client_config(self._settings),
                    "error_cb": self._on_error,
                    "group.id": "pixelcore",  # required, but never joined
                    "enable.auto.commit": "false",
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "enable.partition.eof": "true",
                    # librdkafka tells of the end after an empty fetch, for which brokers wait half a second by default.
                    # A shorter wait would be felt by brokers whose readers all wait for one open transaction.
                    "fetch.wait.max.ms": "50",
                }
            )
        try:
            # While brokers fail, librdkafka's consumers may lock up in any method (confluentinc/librdkafka#5476).
            # Reading has no time limit: only a standstill ends it.
            found = call_while_it_progresses(QUIET_SECONDS, lambda: consume(consumer), lambda: self._records)
        except CallTimeoutError:
            self._consumer = None  # it may never return, and never close
            text = (
                f"the claim does not show up in topic {self._settings.checkpoint_topic}: perhaps a transaction of another"
                " producer is open there, or the consumer is locked up; run kafka-transactions.sh find-hanging"
            )
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, text)) from None
        except BaseException:
            self._consumer = None
            raise
        consumer.unassign()
        return found

    def _start(self, consumer: Consumer, journal: str, partition: int) -> int:
        """The offset at which a reader of a journal's checkpoints starts."""
        born = born_ms(journal)
        if born is None:
            return 0
        at = TopicPartition(self._settings.checkpoint_topic, partition, max(0, born - MARGIN_MS))
        (found,) = self._ask(lambda: consumer.offsets_for_times([at], timeout=REQUEST_SECONDS))
        if found.error is not None:
            raise KafkaException(found.error)
        return max(0, found.offset)

    def _ask(self, ask: Callable[[], T]) -> T:
        """Ask again while a topic that was just created has no leader yet."""
        while True:
            try:
                return ask()
            except KafkaException as error:
                if error.args[0].code() not in _NO_LEADER_YET:
                    raise
                if self._halted():
                    raise kafka.HaltedError from None
                time.sleep(_POLL_SECONDS / 10)

    def _messages(self, consumer: Consumer, partition: int, start: int) -> Iterator[Message | None]:
        """The records as they arrive, and None at each end of the partition. Raises `KafkaException`."""
        # An offset and `auto.offset.reset`, because librdkafka waits half a second for OFFSET_BEGINNING.
        consumer.assign([TopicPartition(self._settings.checkpoint_topic, partition, start)])
        while self._consumer is consumer and not self._halted():
            message = consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            error = message.error()
            if error is None:
                self._records += 1
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                yield None
            else:
                raise KafkaException(error)
        if self._consumer is not consumer:
            consumer.close()  # nobody waits for it any more, and nobody else would close it
        raise kafka.HaltedError
