"""Creates topics, and reads them like a `read_committed` consumer."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from confluent_kafka.cimpl import NewTopic
from typing_extensions import Self

from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Message:
    """One record of a topic."""

    key: bytes | None
    value: bytes
    partition: int
    offset: int
    timestamp: int = 0
    """The record's time in Unix milliseconds."""
    headers: tuple[object, ...] = ()

    @property
    def event(self) -> dict[str, Any]:
        """The value as the JSON object it is."""
        event: dict[str, Any] = json.loads(self.value)
        return event

    @property
    def mid(self) -> str:
        """The event's messageId."""
        return str(self.event["messageId"])


class IncompleteError(TimeoutError):
    """The time was over before the end was reached. ``messages`` are those read until then."""

    def __init__(self, topic: str, messages: list[Message]) -> None:
        super().__init__(f"{len(messages)} messages of {topic} when the time was over")
        self.messages = messages


def _client(bootstrap: str) -> dict[str, Any]:
    return {"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500}


def create(
    bootstrap: str,
    topic: str,
    partitions: int = 1,
    timeout: float = 60,
    *,
    compacted: bool = False,
    config: Mapping[str, str] | None = None,
) -> None:
    """Create a topic and wait until each partition has a leader."""
    properties = {**({"cleanup.policy": "compact"} if compacted else {}), **(config or {})}
    admin = AdminClient(_client(bootstrap))
    admin.create_topics([NewTopic(topic, partitions, 1, config=properties)], request_timeout=timeout)[topic].result(
        timeout
    )
    _partitions(admin.list_topics, topic, time.monotonic() + timeout)


def alter(bootstrap: str, topic: str, name: str, value: str) -> None:
    """Change one property of a topic, and wait until the broker has followed its controller."""
    _ask_to_alter(bootstrap, topic, name, value)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient(_client(bootstrap))

    def is_altered() -> bool:
        return bool(admin.describe_configs([resource])[resource].result(60)[name].value == value)

    wait_for(is_altered, 60, f"{name}={value} of {topic}")


def _ask_to_alter(bootstrap: str, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(_client(bootstrap))
    admin.incremental_alter_configs([resource])[resource].result(60)


def _partitions(list_topics: Callable[..., Any], topic: str, deadline: float) -> list[int]:
    """The partitions of a topic, as soon as it exists and all of them have a leader."""
    while True:
        try:
            found = list_topics(topic, timeout=10).topics[topic]
        except KafkaException:
            found = None
        partitions = found.partitions if found is not None and found.error is None else {}
        if partitions and all(partition.leader >= 0 for partition in partitions.values()):
            return sorted(partitions)
        if time.monotonic() > deadline:
            raise IncompleteError(topic, [])
        time.sleep(0.1)


def sizes(bootstrap: str) -> dict[str, int]:
    """All topics with their number of records, uncommitted ones included."""
    consumer = Consumer(_client(bootstrap) | {"group.id": "sizes"})

    def end(name: str, part: int) -> int:
        """The end of a partition, as soon as it has a leader, because its topic may be new."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return consumer.get_watermark_offsets(TopicPartition(name, part))[1]
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    try:
        return {
            name: sum(end(name, part) for part in topic.partitions)
            for name, topic in consumer.list_topics(timeout=60).topics.items()
            if not name.startswith("__")
        }
    finally:
        consumer.close()


class Reader:
    """All partitions of a topic from their beginning, read_committed; ``messages`` grows with every `poll`."""

    def __init__(self, bootstrap: str, topic: str, timeout: float = 60) -> None:
        self.topic = topic
        self.messages: list[Message] = []
        common = _client(bootstrap) | {"group.id": f"reader-{uuid.uuid4()}", "enable.auto.commit": False}
        self._consumer = Consumer(
            common
            | {
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        # A read_committed consumer is told the end of what is committed; the true end, an open transaction's records
        # included, is known to a read_uncommitted one only.
        self._watermarks = Consumer(common | {"isolation.level": "read_uncommitted"})
        self._ends_seen: dict[int, int] = {}
        try:
            self._partitions = _partitions(self._consumer.list_topics, topic, time.monotonic() + timeout)
        except BaseException:
            self.close()
            raise
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in self._partitions])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both consumers."""
        self._consumer.close()
        self._watermarks.close()

    def poll(self, seconds: float = 0.2) -> None:
        """Read for ``seconds``."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for record in self._consumer.consume(1000, min(left, 0.1)):
                partition, offset, error = record.partition(), record.offset(), record.error()
                if partition is None or offset is None:
                    continue
                if error is None:
                    (_, at), headers = record.timestamp(), tuple(record.headers() or ())
                    value = record.value() or b""
                    self.messages.append(Message(record.key(), value, partition, offset, at, headers))
                elif error.code() == KafkaError._PARTITION_EOF:
                    # The position never passes the marker at a transaction's end, but the end offset does.
                    self._ends_seen[partition] = offset

    def until(self, done: Callable[[list[Message]], bool], timeout: float) -> bool:
        """Poll until ``done(messages)``, or until the time is over; False then."""
        deadline = time.monotonic() + timeout
        while not done(self.messages):
            if time.monotonic() > deadline:
                return False
            self.poll()
        return True

    def at_end(self) -> bool:
        """Whether all partitions were read to their current ends."""
        for partition in self._partitions:
            try:
                low, high = self._watermarks.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=10)
            except KafkaException:
                return False
            if high > low and self._ends_seen.get(partition, -1) < high:
                return False
        return True


def read_committed(bootstrap: str, topic: str, timeout: float = 60, expect: int | None = None) -> list[Message]:
    """All committed messages of a topic, or those up to and including number ``expect``.

    Without ``expect`` the end is where the partitions end now, open transactions included: those are waited for.
    """
    with Reader(bootstrap, topic, timeout) as reader:
        if expect is not None:
            complete = reader.until(lambda messages: len(messages) >= expect, timeout)
        else:
            complete = reader.until(lambda _: reader.at_end(), timeout)
        if not complete:
            raise IncompleteError(topic, reader.messages)
        return reader.messages
