"""The checkpoint topic: records ``journal id -> offset``, and ``journal id/owner -> owner and claim``.

All gateways write to its one partition, and a ``read_committed`` reader stops before the oldest open transaction, anybody's. So a
process that opens a journal first commits a claim, and reads up to it: everything that was committed before has passed by then.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from typing_extensions import Self

from ..settings import Settings
from ..timeouts import CallTimeoutError, call_with_timeout
from . import kafka

PARTITION = 0
CLAIM_SECONDS = 60.0


class Record(NamedTuple):
    """A record to be written."""

    key: str
    value: str


class Checkpoint(NamedTuple):
    """What the topic says of a journal."""

    offset: int = 0
    """Below which every event is in the topic of the events."""
    owner: str | None = None
    """Who claimed the journal last."""
    claim: str | None = None
    """By which claim."""

    def after(self, journal: str, key: bytes | None, value: bytes) -> Checkpoint:
        """The same after one more record."""
        if key == journal.encode():
            return self._replace(offset=json.loads(value)["offset"])
        if key == f"{journal}/owner".encode():
            record = json.loads(value)
            return self._replace(owner=record["owner"], claim=record.get("claim"))
        return self


def offset_record(journal: str, offset: int) -> Record:
    """That every event of a journal below ``offset`` is in the topic."""
    return Record(journal, json.dumps({"offset": offset}))


def claim_record(journal: str, owner: str) -> tuple[Record, str]:
    """That ``owner`` has a journal from now on, and the claim's id."""
    claim = uuid.uuid4().hex
    return Record(f"{journal}/owner", json.dumps({"owner": owner, "claim": claim})), claim


def read_to_claim(settings: Settings, journal: str, claim: str, halted: Callable[[], bool]) -> Checkpoint:
    """What was committed of a journal before a claim.

    Raises `KafkaException` when the claim is not seen for longer than any transaction before it can stay open: the
    claim of a twin may have replaced it.
    """

    def consume() -> Checkpoint:
        found = Checkpoint()
        with _Reader(settings, halted) as reader:
            for message in reader.messages():
                if message is not None:
                    found = found.after(journal, message.key(), message.value() or b"")
                    if found.claim == claim:
                        return found
        raise kafka.HaltedError

    return _in_time(consume)


def read_to_end(settings: Settings, journal: str, halted: Callable[[], bool]) -> Checkpoint:
    """What is committed of a journal now. Raises `KafkaException`."""

    def consume() -> Checkpoint:
        found = Checkpoint()
        with _Reader(settings, halted) as reader:
            end = reader.end()
            for message in reader.messages():
                # librdkafka tells of the end after an empty fetch only, which a partition that others keep writing to may
                # never have; there a record after that end comes instead.
                if message is None:
                    return found
                found = found.after(journal, message.key(), message.value() or b"")
                if (message.offset() or 0) >= end:
                    return found
        raise kafka.HaltedError

    return _in_time(consume)


def _in_time(consume: Callable[[], Checkpoint]) -> Checkpoint:
    try:
        # While brokers fail librdkafka's consumers may lock up in any of their methods (confluentinc/librdkafka#5476).
        return call_with_timeout(CLAIM_SECONDS * 1.5, consume)
    except CallTimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the consumer does not come back")) from None


class _Reader:
    """A consumer at the beginning of the partition."""

    def __init__(self, settings: Settings, halted: Callable[[], bool]) -> None:
        self._halted = halted
        self._partition = TopicPartition(settings.checkpoint_topic, PARTITION, OFFSET_BEGINNING)
        self._consumer = Consumer(
            {
                **kafka.client_config(settings),
                "group.id": "pixelcore",  # required, but never joined
                "enable.auto.commit": "false",
                "isolation.level": "read_committed",
                "enable.partition.eof": "true",
            }
        )

    def __enter__(self) -> Self:
        self._consumer.assign([self._partition])
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def end(self) -> int:
        """The offset after the last record that a ``read_committed`` reader may see now."""
        return self._consumer.get_watermark_offsets(self._partition, timeout=10)[1]

    def messages(self) -> Iterator[Message | None]:
        """The records as they come, and None where there are no more for now; ends when halted. Raises `KafkaException`."""
        deadline = time.monotonic() + CLAIM_SECONDS
        while not self._halted():
            if time.monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the claim does not show up"))
            message = self._consumer.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                yield None
            else:
                raise KafkaException(error)
