"""The checks that ask Kafka: brokers, topics, rights, transactions.

Topics are validated and not created, and the one record that is written goes to the checkpoint topic in a transaction
that is aborted.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    OffsetSpec,
)
from confluent_kafka.cimpl import NewTopic

from ...address import HostPort
from ...settings import variable
from ...shipping import checkpoints, kafka
from .broker_probe import probe
from .findings import Failed, Finding, Setup


def check_brokers(setup: Setup) -> Finding:
    """Every bootstrap address answers, and so does every address that the brokers give for themselves."""
    if not setup.settings.ships:
        return Finding("warn", "none: PIXELCORE_KAFKA_BOOTSTRAP_SERVERS is not set, events stay in the journal")
    kafka.producer(setup.settings)  # names a wrong property
    addresses = [text.strip() for text in setup.settings.kafka["bootstrap.servers"].split(",") if text.strip()]
    bootstrap = probe(setup.settings, addresses, setup.seconds / 2)
    silent = [one.diagnosis for one in bootstrap if one.nodes is None]
    nodes = next((one.nodes for one in bootstrap if one.nodes is not None), None)
    if nodes is None:
        raise Failed("; ".join(silent) or "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS: is empty")
    advertised = {str(HostPort(node.host, node.port)) for node in nodes}
    others = probe(setup.settings, sorted(advertised - set(addresses)), setup.seconds)
    if unreachable := [one.diagnosis for one in others if one.nodes is None]:
        raise Failed("advertised.listeners: " + "; ".join(unreachable))
    setup.brokers = len(nodes)
    if silent:
        return Finding("warn", "; ".join(silent))
    return Finding("ok", ", ".join(sorted(advertised)))


class Topic(NamedTuple):
    """A topic that is there: its partitions, what may be done with it, and its configuration unless that is hidden."""

    partitions: int
    configuration: dict[str, str] | None
    warnings: list[str]
    text: str


def _topic(setup: Setup, field: str, rights: set[AclOperation]) -> Topic | None:
    """A topic as the broker describes it, None where it is missing and may be created."""
    name = getattr(setup.settings, field)
    setting = f"{variable(field)}: {name}"
    admin = setup.admin()
    found = _describe(setup, admin, name, setting, rights)
    if found is None:
        new = NewTopic(name, 1) if field == "checkpoint_topic" else NewTopic(name)
        _try_to_create(setup, admin, new, setting)
        return None
    _check_rights(found, setting, rights)
    configuration = _configuration(setup, admin, name)
    hidden = ["its configuration cannot be seen without DescribeConfigs"] if configuration is None else []
    required = int((configuration or {}).get("min.insync.replicas", 1))
    replicas = _check_replicas(found, setting, required)
    warnings = hidden + replication_warnings(setup.brokers, replicas, required)
    count = len(found.partitions)
    text = f"{name}: {_counted(count, 'partition')}, {_counted(replicas, 'replica')}, may {_named(rights).lower()}"
    return Topic(count, configuration, warnings, text)


def _describe(setup: Setup, admin: AdminClient, name: str, setting: str, rights: set[AclOperation]) -> Any:
    """What the broker says of a topic, None where it is missing."""
    asked = {"include_authorized_operations": True, "request_timeout": setup.seconds}
    try:
        return admin.describe_topics(TopicCollection([name]), **asked)[name].result()
    except KafkaException as error:
        code = error.args[0].code()
        if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            need = _named(rights)
            raise Failed(f"{setting}: the ACLs hide it, whether it exists or not: allow {need}") from None
        raise Failed(f"{setting}: {error.args[0].str()}") from None


def _try_to_create(setup: Setup, admin: AdminClient, new: NewTopic, setting: str) -> None:
    """Whether a topic may be created, which it is not."""
    try:
        admin.create_topics([new], validate_only=True, request_timeout=setup.seconds)[new.topic].result()
    except KafkaException as refusal:
        raise Failed(f"{setting}: is missing and may not be created: {refusal.args[0].str()}") from None


def _check_rights(found: Any, setting: str, rights: set[AclOperation]) -> None:
    # Brokers that are not Apache's may say nothing about rights.
    if found.authorized_operations is not None and (lacking := rights - set(found.authorized_operations)):
        raise Failed(f"{setting}: the ACLs lack {_named(lacking)}")


def _configuration(setup: Setup, admin: AdminClient, name: str) -> dict[str, str] | None:
    """A topic's configuration, None where it may not be seen."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    with contextlib.suppress(KafkaException):
        entries = admin.describe_configs([resource], request_timeout=setup.seconds)[resource].result()
        return {entry.name: entry.value for entry in entries.values()}
    return None


def _check_replicas(found: Any, setting: str, required: int) -> int:
    """How many replicas each partition has, where all of them take records."""
    if leaderless := [part.id for part in found.partitions if part.leader is None or part.leader.id < 0]:
        raise Failed(f"{setting}: partitions without a leader: {leaderless}")
    in_sync = min(len(part.isr) for part in found.partitions)
    if in_sync < required:
        raise Failed(f"{setting}: takes no records: {in_sync} replicas are in sync, min.insync.replicas is {required}")
    return min(len(part.replicas) for part in found.partitions)


def _named(rights: set[AclOperation]) -> str:
    return " and ".join(sorted(right.name.capitalize() for right in rights))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def replication_warnings(brokers: int, replicas: int, required: int) -> list[str]:
    """What may be lost or stand still when one of several brokers goes."""
    if brokers > 1 and replicas == 1:
        return ["one replica: events are lost with its broker"]
    if replicas > 1 and required == 1:
        return ["min.insync.replicas is 1: acknowledged events may be on one broker only"]
    if replicas > 1 and required == replicas:
        return ["min.insync.replicas is the number of replicas: nothing is written while one broker is down"]
    return []


def check_topic(setup: Setup) -> Finding:
    """The events' topic exists, or may be created; it may be written, and keeps what is written."""
    found = _topic(setup, "topic", {AclOperation.WRITE})
    if found is None:
        return Finding("ok", f"{setup.settings.topic}: is missing and may be created, as the brokers' defaults say")
    if "compact" in (found.configuration or {}).get("cleanup.policy", ""):
        raise Failed(f"{variable('topic')}: {setup.settings.topic}: is compacted: of each user one event would be left")
    return _finding(found)


def check_checkpoint_topic(setup: Setup) -> Finding | None:
    """The checkpoint topic exists, or may be created; it forgets no journal, and can be read as the forwarder does."""
    if not setup.exactly_once:
        return None
    name = setup.settings.checkpoint_topic
    found = _topic(setup, "checkpoint_topic", {AclOperation.READ, AclOperation.WRITE})
    if found is None:
        return Finding("ok", f"{name}: is missing and may be created")
    if (policy := (found.configuration or {}).get("cleanup.policy", "compact")) != "compact":
        raise Failed(f"{variable('checkpoint_topic')}: {name}: cleanup.policy is {policy}, must be compact")
    if found.partitions > 1:
        found.warnings.append("more than one partition, of which the first alone is used")
    # Even a consumer that joins no group looks for its coordinator.
    consumer = Consumer(
        {**kafka.client_config(setup.settings), "group.id": "pixelcore", "enable.auto.commit": "false"}
        | {"isolation.level": "read_committed", "enable.partition.eof": "true", "fetch.wait.max.ms": "10"}
    )
    try:
        consumer.assign([TopicPartition(name, checkpoints.PARTITION, OFFSET_END)])
        message = consumer.poll(setup.seconds)
        error = message.error() if message is not None else KafkaError(KafkaError._TIMED_OUT)
        if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise Failed("the ACLs hide the consumer group pixelcore: allow Describe")
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise Failed(f"{variable('checkpoint_topic')}: {name}: cannot be read: {error.str()}")
    finally:
        consumer.close()
    setup.checkpoints_usable = True
    return _finding(found)


def _finding(topic: Topic) -> Finding:
    return Finding("warn" if topic.warnings else "ok", "; ".join([topic.text, *topic.warnings]))


def check_transactions(setup: Setup) -> Finding | None:
    """A transaction with an id like a journal's, which writes one record and is aborted: no consumer ever sees it."""
    if not setup.exactly_once:
        return None
    began = time.monotonic()
    try:
        offset = _begin_and_abort(setup)
    except KafkaException as error:
        code, reason = error.args[0].code(), error.args[0].str()
        if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            raise Failed("the ACLs lack Write for transactional ids with the prefix pixelcore-") from None
        if code == KafkaError.INVALID_TRANSACTION_TIMEOUT:
            raise Failed("PIXELCORE_KAFKA_TRANSACTION_TIMEOUT_MS: is more than the brokers allow") from None
        raise Failed(f"{reason}; brokers without transactions need {variable('delivery')}=at-least-once") from None
    taken = time.monotonic() - began
    if offset is not None:
        setup.broker_time = _newest(
            setup, TopicPartition(setup.settings.checkpoint_topic, checkpoints.PARTITION), offset
        )
    return Finding("ok", f"begun and aborted in {taken:.1f} s")


def _begin_and_abort(setup: Setup) -> int | None:
    """The offset of the record, where there is a checkpoint topic to write it to."""
    identity = f"pixelcore-check-{uuid.uuid4()}"
    reports: list[tuple[KafkaError | None, int | None]] = []
    producer = kafka.producer(setup.settings, transactional_id=identity, delivery_report_only_error=False)
    producer.init_transactions(setup.seconds)
    producer.begin_transaction()
    if setup.checkpoints_usable:
        producer.produce(
            setup.settings.checkpoint_topic,
            key=identity,
            partition=checkpoints.PARTITION,
            timestamp=1,  # the oldest, so that the newest in the topic is the broker's own: that of the abort
            on_delivery=lambda error, message: reports.append((error, message.offset())),
        )
        producer.flush(setup.seconds / 2)
    producer.abort_transaction(setup.seconds)
    for error, offset in reports:
        if error is not None:
            raise KafkaException(error)
        return offset if offset is not None and offset >= 0 else None
    return None


def _newest(setup: Setup, partition: TopicPartition, offset: int) -> float | None:
    """A partition's newest timestamp in Unix seconds, once the end of the transaction with ``offset`` is written."""
    admin = setup.admin()
    latest, newest = OffsetSpec.latest(), OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    with contextlib.suppress(KafkaException):  # old brokers do not know
        while setup.seconds > 0.1:
            end = admin.list_offsets({partition: latest}, request_timeout=setup.seconds)[partition].result()
            if end.offset > offset + 1:
                found = admin.list_offsets({partition: newest}, request_timeout=setup.seconds)[partition].result()
                return float(found.timestamp) / 1000
            time.sleep(0.01)
    return None
