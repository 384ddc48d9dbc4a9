"""Follows the consent topic into the data directory's consent list (contract, section 9).

One thread of all processes that share a data directory follows the topic. It holds a lock, and another thread takes over when it
ends. A record is in force in all workers as soon as it is read, because they map the same file. That file also has the offsets
at which the next reader continues.

This module knows no events: `withdrawals` applies the list to them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition

from .. import consents
from .._core import CeilingsWriter, consent_key_ids
from ..errors import PixelcoreError
from ..files import EXCLUSIVE, make_directory, open_own, try_lock
from ..observing import counters
from ..settings import Settings, variable
from ..timeouts import CallTimeoutError, call_while_it_progresses, call_with_timeout
from . import kafka
from .advice import advise
from .policies import Backoff
from .topics import Topics

log = logging.getLogger("pixelcore")

TAKE_OVER_SECONDS = 0.25
"""How often a thread tries to become the one that follows. Records are in force within 2 s, also when the thread changes."""
RECORDS = 256
"""Records per call: the GIL is held for less than a millisecond."""
POLL_SECONDS = 0.2
ROUND_SECONDS = 1.0
"""How often the end of the topic is requested, and new records are flushed to the device."""
REQUEST_SECONDS = 5.0
REPARTITION_SECONDS = 60.0
LOCKED_UP_SECONDS = 60.0
STOP_SECONDS = 1.0
RETRY_SECONDS, MAX_RETRY_SECONDS = 0.5, 10.0
LOG_SECONDS = 60.0


class ConsentFollower(threading.Thread):
    """Follows the topic until it is stopped, whenever no other thread follows it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="consent follower", daemon=True)
        self._settings = settings
        self._known = frozenset(consent_key_ids(consents.secrets(settings)))
        self._stopping = threading.Event()
        self._backoff = Backoff(RETRY_SECONDS, MAX_RETRY_SECONDS)
        self._lock: int | None = None
        self._told: dict[str, float] = {}
        self._progress = 0

    def stop(self) -> None:
        """End the thread, or abandon it if it waits for a broker. At any end, the list has the state before or after a write."""
        self._stopping.set()
        if self.is_alive():
            self.join(STOP_SECONDS)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._is_ours():
                    self._try_to_follow()
                else:
                    self._stopping.wait(TAKE_OVER_SECONDS)
        finally:
            if self._lock is not None:
                os.close(self._lock)

    def _is_ours(self) -> bool:
        """Whether this thread is the one that follows: it holds the lock, which the kernel releases when the process ends."""
        if self._lock is not None:
            return True
        try:
            directory = consents.directory(self._settings)
            make_directory(directory)
            lock = open_own(directory / consents.FOLLOW, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            self._say(f"the consent topic cannot be followed: {error}")
            return False
        if try_lock(lock, EXCLUSIVE):
            self._lock = lock
            return True
        os.close(lock)
        return False

    def _try_to_follow(self) -> None:
        following: _Following | None = None
        try:
            following = _Following(self._settings, self._known, self._stopping, self._say)
            # librdkafka's consumers may lock up in any method. Such a consumer is abandoned.
            call_while_it_progresses(LOCKED_UP_SECONDS, following.run, following.progress)
            return
        except KafkaException as error:
            trouble = advise(error.args[0])
        except CallTimeoutError:
            trouble = "the consumer is locked up"
        except (PixelcoreError, OSError) as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001
            # After any error, the thread must continue to hear of withdrawals.
            trouble = f"{type(error).__name__}: {error}"
        finally:
            if following is not None:
                following.left.set()
        if following is not None and following.has_heard:
            self._backoff.succeeded()
        self._say(f"{variable('consent_topic')}: {self._settings.consent_topic}: {trouble}; trying again")
        self._stopping.wait(self._backoff.failed())

    def _say(self, trouble: str) -> None:
        """Log an error when it begins, and once a minute while it lasts."""
        now = time.monotonic()
        if now >= self._told.get(trouble, 0.0):
            self._told = {trouble: now + LOG_SECONDS}
            log.error("%s", trouble, extra={"topic": self._settings.consent_topic})


class _Following:
    """The life of one consumer."""

    def __init__(
        self, settings: Settings, known: frozenset[str], stopping: threading.Event, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._topic = settings.consent_topic
        self._known = known
        self._stopping = stopping
        self._say = say
        self.left = threading.Event()
        """Set when it is abandoned."""
        self.rounds = 0
        self.has_heard = False
        """Whether it has read the topic to its end."""
        self._writer = CeilingsWriter(consents.directory(settings))
        self._positions: dict[int, int] = {}
        self._unflushed = False

    def progress(self) -> int:
        """A number that changes after each round."""
        return self.rounds

    def run(self) -> None:
        """Follow until it is stopped, or the topic's partitions change. Raises `KafkaException`, `PixelcoreError` and ``OSError``."""
        if self._writer.damaged:
            log.error(
                "%s: the consent list is damaged and is rebuilt from the topic", consents.directory(self._settings)
            )
        partitions = Topics(self._settings).describe([self._topic])[self._topic].partitions
        identity = self._identity()
        offsets = self._writer.offsets(identity)
        consumer = Consumer(
            {
                **kafka.client_config(self._settings),
                "group.id": "pixelcore",  # required, but never joined
                "enable.auto.commit": "false",
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": "true",
            }
        )
        try:
            ends = self._ends(consumer, range(partitions))
            self._positions = {part: offsets[part] if part < len(offsets) else 0 for part in range(partitions)}
            if not offsets or any(self._positions[part] > end for part, end in ends.items()):
                # The list belongs to another topic, or to one that was restored from a backup.
                self._writer.begin(identity)
                self._positions = dict.fromkeys(range(partitions), 0)
            log.info("following the consent topic %s from offsets %s", self._topic, dict(self._positions))
            consumer.assign([TopicPartition(self._topic, part, at) for part, at in self._positions.items()])
            self._follow(consumer, partitions)
        finally:
            # Closing may also lock up.
            call_with_timeout(REQUEST_SECONDS, consumer.close)

    def _follow(self, consumer: Consumer, partitions: int) -> None:
        round_at = time.monotonic()
        repartition_at = round_at + REPARTITION_SECONDS
        while not (self._stopping.is_set() or self.left.is_set()):
            self.rounds += 1
            first = consumer.poll(POLL_SECONDS)
            if first is not None:
                self._take(self._records([first, *consumer.consume(RECORDS - 1, 0)]))
            now = time.monotonic()
            if now >= round_at:
                round_at = now + ROUND_SECONDS
                self._look_at_the_end(consumer)
            if now >= repartition_at:
                repartition_at = now + REPARTITION_SECONDS
                found = consumer.list_topics(self._topic, timeout=REQUEST_SECONDS).topics[self._topic]
                if len(found.partitions) not in (0, partitions):
                    return
        self._flush()

    def _records(self, messages: list[Message]) -> list[Message]:
        """The records among a consumer's messages. Also takes note of their offsets. Raises `KafkaException`."""
        records: list[Message] = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            partition, offset = message.partition(), message.offset()
            if partition is not None and offset is not None:
                self._positions[partition] = offset + (error is None)
        return records

    def _take(self, records: list[Message]) -> None:
        if not records:
            return
        times = [message.timestamp()[1] for message in records]
        sent = [
            (message.key(), message.value(), at if at > 0 else None) for message, at in zip(records, times, strict=True)
        ]
        malformed, why, scopes = self._writer.apply(sent)
        self._unflushed = True
        counters.consent_records(len(sent) - malformed, malformed)
        if malformed:
            self._say(f"topic {self._topic}: {malformed} records are malformed and ignored; of the last one, {why}")
        for key_id, scope in scopes:
            if key_id not in self._known:
                self._say(
                    f"topic {self._topic}: records of scope {scope!r} have key id {key_id!r}, for which"
                    f" {variable('consent_secret')} has no secret: nothing of that scope is kept until the secret is set"
                )
        if self.has_heard:
            now = time.time()
            for at in times:
                counters.observe("consent_lag_seconds", max(0.0, now - at / 1000))

    def _look_at_the_end(self, consumer: Consumer) -> None:
        """Record that the list is complete now, if everything in the topic was read."""
        now = int(time.time() * 1000)
        try:
            ends = self._ends(consumer, self._positions)
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() not in _PASSING:
                raise
            return
        self._flush()
        if all(self._positions[part] >= end for part, end in ends.items()):
            self._writer.heard(now)
            self.has_heard = True

    def _flush(self) -> None:
        if self._unflushed:
            self._writer.sync(list(self._positions.items()))
            self._unflushed = False

    def _ends(self, consumer: Consumer, partitions: Any) -> dict[int, int]:
        return {
            part: consumer.get_watermark_offsets(TopicPartition(self._topic, part), timeout=REQUEST_SECONDS)[1]
            for part in partitions
        }

    def _identity(self) -> int:
        """The identity of the topic. A new topic of the same name has another one, because offsets do not carry over."""
        from confluent_kafka.admin import AdminClient

        admin = AdminClient(kafka.client_config(self._settings))  # it must live until it has answered
        asked = admin.describe_topics(TopicCollection([self._topic]), request_timeout=REQUEST_SECONDS)
        found = asked[self._topic].result().topic_id
        # Brokers before 2.8 have no topic ids: then the name alone is the identity.
        number = (
            0 if found is None else found.get_most_significant_bits() << 64 | found.get_least_significant_bits() % 2**64
        )
        return int.from_bytes(hashlib.sha256(f"{self._topic} {number % 2**128}".encode()).digest()[:16], "big")


_PASSING = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE)
