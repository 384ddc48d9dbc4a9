"""The topics: missing ones are created, and a configuration that would lose data is refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from ..errors import PixelcoreError
from ..settings import Settings, variable
from . import kafka

log = logging.getLogger("pixelcore.kafka")

CHECKPOINT_PARTITIONS = 25
"""The same number as Kafka Connect's topic of offsets. A transaction that stays open delays the journals of one partition only."""
REFRESH_SECONDS = 300.0
REQUEST_SECONDS = 5.0

CHECKPOINT_CONFIG = {
    # The last checkpoint of a journal is kept for as long as somebody may restore a backup, and is then deleted.
    "cleanup.policy": "compact,delete",
    "retention.ms": str(90 * 86_400_000),
    # Each transaction leaves a record and a marker. Both are soon compacted away.
    "segment.bytes": str(16 * 2**20),
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": "600000",
}

CONSENT_CONFIG = {
    # Each person's last record stays for ever. Otherwise a new gateway would not learn of withdrawals.
    "cleanup.policy": "compact",
    "segment.bytes": str(64 * 2**20),
    "min.cleanable.dirty.ratio": "0.1",
    # For so long, a gateway that was down or restored from a backup still hears of erased persons.
    "delete.retention.ms": str(90 * 86_400_000),
}

LAST_OPEN_CONFIG = {
    "cleanup.policy": "compact",
    # A day that a newer one replaces is deleted within about an hour, because nobody may keep a history of days.
    "segment.ms": "600000",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "600000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "600000",
}


class TopicError(PixelcoreError):
    """A topic is missing or wrongly configured; the message says what to do."""


class Topic(NamedTuple):
    """A topic as the broker describes it."""

    partitions: int
    configuration: dict[str, str] | None
    """None if it is hidden."""

    @property
    def is_compacted(self) -> bool | None:
        """Whether only the last record of each key stays; None if it is not known."""
        return None if self.configuration is None else "compact" in self.configuration.get("cleanup.policy", "")

    @property
    def record_bytes(self) -> int | None:
        """The bytes of the largest record batch that the topic accepts; None if they are not known."""
        text = (self.configuration or {}).get("max.message.bytes")
        return int(text) if text is not None else None


class Topics:
    """The topics of one shipping thread, described before the first batch and every few minutes."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._known: dict[str, tuple[float, Topic]] = {}

    def forget(self) -> None:
        """Describe the topics again next time, because something about them may have changed."""
        self._known.clear()

    def describe(self, names: Iterable[str]) -> dict[str, Topic]:
        """The topics by name. Missing ones are created. Raises `TopicError` and `KafkaException`."""
        wanted, now = set(names), self._clock()
        fresh = {name: topic for name, (until, topic) in self._known.items() if name in wanted and now < until}
        if missing := sorted(wanted - fresh.keys()):
            found = self._look(missing)
            self._known |= {name: (now + REFRESH_SECONDS, topic) for name, topic in found.items()}
            fresh |= found
        return fresh

    def _look(self, names: list[str]) -> dict[str, Topic]:
        # Importing the admin client costs 5 MB, which a gateway without Kafka does not need.
        from confluent_kafka.admin import AdminClient

        heard: list[KafkaError] = []
        config: dict[str, Any] = {**kafka.client_config(self._settings), "error_cb": heard.append}
        admin = AdminClient(config)
        try:
            partitions = _partitions(admin, names)
            if missing := [name for name in names if name not in partitions]:
                create(self._settings, admin, missing)
                partitions |= _partitions(admin, missing)
            configurations = _configurations(admin, partitions)
        except KafkaException:
            # For unreachable brokers, the client's own error says more than the call's.
            admin.poll(0)
            for error in heard:
                if error.code() != KafkaError._ALL_BROKERS_DOWN:
                    raise KafkaException(error) from None
            raise
        if missing := [name for name in names if name not in partitions]:
            raise TopicError(
                f"topic {', '.join(missing)} is missing and could not be created, or the ACLs hide it:"
                " create it, or allow pixelcore to create it and to write to it"
            )
        found = {name: Topic(count, configurations[name]) for name, count in partitions.items()}
        self._refuse(found)
        return found

    def _refuse(self, found: dict[str, Topic]) -> None:
        for field, why in (
            ("checkpoint_topic", "retention would delete checkpoints, and events could be repeated"),
            ("last_open_topic", "it would keep all days of a person"),
            ("consent_topic", "retention would delete withdrawals"),
        ):
            name = getattr(self._settings, field)
            if name in found and found[name].is_compacted is False:
                raise TopicError(
                    f"{variable(field)}: {name}: cleanup.policy is not compact: {why};"
                    f" set it with kafka-configs --alter --add-config cleanup.policy=compact"
                )


def create(settings: Settings, admin: Any, names: list[str]) -> None:
    """Create topics if the broker allows it, and wait a moment until they are visible."""
    for name, made in admin.create_topics(
        [new(settings, name) for name in names], request_timeout=REQUEST_SECONDS
    ).items():
        try:
            made.result()
            log.info("created topic %s", name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                log.warning("could not create topic %s: %s", name, error.args[0].str())
                continue
        for _ in range(50):
            if _partitions(admin, [name]):
                break
            time.sleep(0.1)


def new(settings: Settings, name: str) -> Any:
    """A topic as pixelcore would create it."""
    from confluent_kafka.cimpl import NewTopic

    replicas = settings.topic_replicas or -1
    if name == settings.checkpoint_topic:
        return NewTopic(name, CHECKPOINT_PARTITIONS, replicas, config=CHECKPOINT_CONFIG)
    if name == settings.consent_topic:
        return NewTopic(name, 1, replicas, config=CONSENT_CONFIG)
    config = LAST_OPEN_CONFIG if name == settings.last_open_topic else {}
    return NewTopic(name, settings.topic_partitions or -1, replicas, config=config)


def _partitions(admin: Any, names: list[str]) -> dict[str, int]:
    """The number of partitions of each topic that exists."""
    there = admin.list_topics(timeout=REQUEST_SECONDS).topics
    return {name: len(there[name].partitions) for name in names if name in there and there[name].error is None}


def _configurations(admin: Any, names: Iterable[str]) -> dict[str, dict[str, str] | None]:
    """The configuration of each topic; None if it is hidden."""
    from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

    resources = {name: ConfigResource(ConfigResource.Type.TOPIC, name) for name in names}
    asked = admin.describe_configs(list(resources.values()), request_timeout=REQUEST_SECONDS) if resources else {}
    found: dict[str, dict[str, str] | None] = {}
    for name, resource in resources.items():
        try:
            found[name] = {entry.name: entry.value for entry in asked[resource].result().values()}
        except KafkaException as error:
            log.debug("the configuration of topic %s: %s", name, error.args[0].str())
            found[name] = None
    return found
