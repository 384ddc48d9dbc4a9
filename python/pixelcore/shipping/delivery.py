"""The two ways of delivering a journal's events: exactly once, and at least once (contract, section 6)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ..journals import JournalDirectory
from ..settings import Settings
from . import checkpoints, kafka

Event = tuple[bytes, bytes | None]
"""The line, and its message key."""

log = logging.getLogger("pixelcore")

ANY_PARTITION = -1
"""The partitioner chooses one."""
_TAKEN_BACK = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)


class FencedError(Exception):
    """Another process forwards this journal; the message says which."""


class Delivery(Protocol):
    """Takes the events of one journal to one topic. Any exception but `FencedError` means: open it anew and go on from there."""

    committed: int
    """The offset below which every event is in the topic."""

    def deliver(self, events: list[Event], offset: int) -> None:
        """Bring ``events``, which end at ``offset``, to the topic."""

    def close(self) -> None:
        """Close the connection; what is not committed is not delivered."""


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

    The transactional id is the journal's. So a process that opens a journal fences its predecessor, which can commit
    nothing more, and only then reads what was committed.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        journal: JournalDirectory,
        halted: Callable[[], bool],
        owner: str,
        may_be_lost: bool,
    ) -> None:
        """Claim a journal as ``owner``; ``may_be_lost`` says that it was open here before and then fenced."""
        self._journal = journal.id
        super().__init__(settings, topic, halted, transactional_id=f"pixelcore-{journal.id}")
        if may_be_lost:
            self._yield_to_a_twin(owner)
        kafka.patiently(halted, self._producer.init_transactions)
        self._producer.begin_transaction()
        record, claim = checkpoints.claim_record(journal.id, owner)
        self._checkpoint(record)
        kafka.patiently(halted, self._producer.commit_transaction)
        in_topic = checkpoints.read_to_claim(settings, journal.id, claim, halted)
        # The journal may have been shipped at least once before.
        self.committed = max(in_topic.offset, journal.committed)

    def deliver(self, events: list[Event], offset: int) -> None:
        self._producer.begin_transaction()
        if events:
            self._produce(events)
        self._checkpoint(checkpoints.offset_record(self._journal, offset))
        try:
            kafka.patiently(self._halted, self._producer.commit_transaction)
        except KafkaException as error:
            if self._failure is not None and error.args[0].code() not in kafka.FENCED:
                raise KafkaException(self._failure) from error
            raise
        self.committed = offset

    def _checkpoint(self, record: checkpoints.Record) -> None:
        self._producer.produce(
            self._settings.checkpoint_topic,
            record.value,
            record.key,
            partition=checkpoints.PARTITION,
            on_delivery=self._delivered,
        )

    def _yield_to_a_twin(self, owner: str) -> None:
        """After being fenced: if another process has claimed the journal since, it is theirs.

        If none has, the coordinator fenced us because a transaction took too long, and we may go on.
        """
        last = checkpoints.read_to_end(self._settings, self._journal, self._halted)
        if last.owner != owner:
            raise FencedError(last.owner)


class AtLeastOnce(_Producing):
    """An idempotent producer. The offset is what was noted beside the segments."""

    def __init__(self, settings: Settings, topic: str, journal: JournalDirectory, halted: Callable[[], bool]) -> None:
        super().__init__(settings, topic, halted)
        self.committed = journal.committed

    def deliver(self, events: list[Event], offset: int) -> None:
        self._produce(events)
        while self._producer.flush(1.0):
            if self._halted():
                raise kafka.HaltedError
        if self._failure is not None:
            raise KafkaException(self._failure)
        self.committed = offset
