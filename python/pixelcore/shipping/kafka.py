"""Clients of confluent-kafka with pixelcore's properties, and calls that are repeated while an error may pass.

An operator's property overrides `_DEFAULTS` and `_PRODUCER_DEFAULTS`. The properties that delivery depends on cannot be set
(`settings`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

from ..errors import SettingsError
from ..settings import KAFKA_PREFIX, Settings

log = logging.getLogger("pixelcore.kafka")
_quiet = logging.getLogger("pixelcore.kafka.reader")

T = TypeVar("T")
OnError = Callable[[KafkaError], None]

_DEFAULTS = {
    "client.id": "pixelcore",
    "allow.auto.create.topics": "false",  # otherwise the checkpoint topic might be created without compaction
    # A worker's first event, and each orphaned journal, needs a connection to its transaction coordinator.
    "reconnect.backoff.ms": "20",
    "reconnect.backoff.max.ms": "2000",
    "socket.keepalive.enable": "true",
}
_PRODUCER_DEFAULTS: dict[str, str | bool] = {
    "enable.idempotence": "true",
    # A batch is produced and then flushed, and a flush ignores the linger. A shorter linger would split it into more requests.
    "linger.ms": "100",
    "delivery.report.only.error": True,  # a callback per delivered event would cost as much as sending it
    "partitioner": "murmur2_random",  # like Java's producers, so that joins by key work
    "transaction.timeout.ms": "15000",  # an open transaction hides later records from read_committed consumers
}

FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})


class HaltedError(Exception):
    """The time for shipping the rest is over."""


def client_config(settings: Settings) -> dict[str, Any]:
    """The properties of a consumer or admin client."""
    return {**_DEFAULTS, **settings.kafka, "logger": _quiet}


def producer(settings: Settings, on_error: OnError | None = None, **properties: Any) -> Producer:
    """A producer. ``on_error`` gets the errors between calls. Raises `SettingsError` that names a wrong property."""
    own = {name.replace("_", "."): value for name, value in properties.items()}
    common: dict[str, Any] = {**_DEFAULTS, **_PRODUCER_DEFAULTS, "logger": log}
    if on_error is not None:
        common["error_cb"] = on_error
    try:
        return Producer({**common, **settings.kafka, **own})
    except KafkaException as error:
        raise SettingsError(_wrong_property({**common, **own}, settings.kafka, error)) from None


def try_settings(settings: Settings) -> None:
    """Raise `SettingsError` for a property that the forwarder's producer does not accept."""
    own: dict[str, Any] = {"transactional_id": "pixelcore-trial"} if settings.delivery == "exactly-once" else {}
    producer(settings, **own).purge()


def _wrong_property(common: dict[str, Any], chosen: dict[str, str], error: KafkaException) -> str:
    """The wrong setting, and librdkafka's text about it."""
    quiet = {**common, "logger": _quiet}
    for name, value in chosen.items():
        # Each property alone, because librdkafka reports an alias under its main name.
        if (alone := _refusal({name: value, "logger": _quiet})) is not None:
            return f"{variable_of(name)}: {alone}"
    text = error.args[0].str()
    for name in chosen:
        # Some properties are checked only against others, such as timeouts. Without the wrong one, the rest is accepted.
        if _refusal(quiet | {other: value for other, value in chosen.items() if other != name}) is None:
            return f"{variable_of(name)}: {text}"
    return f"{KAFKA_PREFIX}*: {text}"


def _refusal(config: dict[str, Any]) -> str | None:
    try:
        Producer(config).purge()
    except KafkaException as error:
        return str(error.args[0].str())
    return None


def variable_of(name: str) -> str:
    """The environment variable of a librdkafka property."""
    return KAFKA_PREFIX + name.upper().replace(".", "_")


def connect(client: Producer, topic: str) -> None:
    """Connect to a broker, within some seconds, so that ``init_transactions`` does not wait half a second.

    librdkafka asks for the transaction coordinator at once only if it has a connection, and otherwise half a second later.
    """
    with contextlib.suppress(KafkaException):  # the calls that need a connection say why there is none
        # A bootstrap address answers the first time. librdkafka then connects to the broker that it has learned of.
        for _ in range(2):
            client.list_topics(topic, timeout=1.0)


def patiently(halted: Callable[[], bool], call: Callable[[float], T], client: Producer) -> T:
    """Repeat a call of ``client`` while its error is retriable. The call takes a timeout in seconds.

    Meanwhile the client's ``on_error`` gets the errors that prevent its success. Raises `HaltedError` and `KafkaException`.
    """
    while True:
        try:
            return call(1.0)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            client.poll(0)
            if halted():
                raise HaltedError from error
