"""What pixelcore asks of confluent-kafka: clients with the right properties, topics, and patience."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

from ..errors import SettingsError
from ..settings import KAFKA_PREFIX, Settings

log = logging.getLogger("pixelcore.kafka")
_quiet = logging.getLogger("pixelcore.kafka.reader")

T = TypeVar("T")

_DEFAULTS = {
    "client.id": "pixelcore",
    "allow.auto.create.topics": "false",  # or the checkpoint topic might be made without compaction
    "reconnect.backoff.max.ms": "2000",
    "socket.keepalive.enable": "true",
}
_PRODUCER_DEFAULTS: dict[str, str | bool] = {
    "enable.idempotence": "true",
    # A batch is produced and then flushed, which waits for no linger: what leaves before would be a request of its own.
    "linger.ms": "100",
    "delivery.report.only.error": True,  # a callback for each event that arrived would cost as much as sending it
    "partitioner": "murmur2_random",  # as Java's producers do, so that joins by key work
    "transaction.timeout.ms": "15000",  # an open transaction hides what comes after it from read_committed consumers
}

FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})
UNDELIVERABLE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})


class HaltedError(Exception):
    """The time for finishing is over."""


def client_config(settings: Settings) -> dict[str, Any]:
    """The properties of a consumer or admin client."""
    return {**_DEFAULTS, **settings.kafka, "logger": _quiet}


def producer(settings: Settings, **properties: str | bool) -> Producer:
    """A producer. Raises `SettingsError` that names a wrong property."""
    own = {name.replace("_", "."): value for name, value in properties.items()}
    try:
        return Producer({**_DEFAULTS, **_PRODUCER_DEFAULTS, **settings.kafka, **own, "logger": log})
    except KafkaException as error:
        for name, value in settings.kafka.items():
            # By itself, since librdkafka speaks of an alias by the name of what it stands for.
            try:
                Producer({name: value, "logger": _quiet})
            except KafkaException as alone:
                variable = KAFKA_PREFIX + name.upper().replace(".", "_")
                raise SettingsError(f"{variable}: {alone.args[0].str()}") from None
        raise SettingsError(f"{KAFKA_PREFIX}*: {error.args[0].str()}") from None


def patiently(halted: Callable[[], bool], call: Callable[[float], T]) -> T:
    """Repeat a call that takes a timeout in seconds while its failure is one that may pass."""
    while True:
        try:
            return call(1.0)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            if halted():
                raise HaltedError from error


def ensure_topics(settings: Settings, topic: str, client: Producer) -> None:
    """Create ``topic`` and the checkpoint topic where they are missing and the broker allows it."""
    there = client.list_topics(timeout=5).topics
    missing = [name for name in (topic, settings.checkpoint_topic) if name not in there]
    if not missing:
        return
    # Importing the admin client costs 5 MB; a gateway needs it once in its life.
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    compacted = {
        "cleanup.policy": "compact",
        # Each transaction leaves a record and a marker; both go soon.
        "segment.bytes": str(16 * 2**20),
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": "600000",
    }
    topics = [
        NewTopic(name, num_partitions=1, config=compacted) if name == settings.checkpoint_topic else NewTopic(name)
        for name in missing
    ]
    admin = AdminClient(client_config(settings))
    for name, made in admin.create_topics(topics, request_timeout=10).items():
        try:
            made.result()
            log.info("created topic %s", name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                # It may be there and only hidden from us; producing will tell.
                log.warning("could not create topic %s: %s", name, error.args[0].str())
