"""The checks of the topics: each exists or may be created, is writable, and has a configuration that loses nothing.

Creation is only validated; no topic is created.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    OffsetSpec,
)
from confluent_kafka.cimpl import NewTopic

from ...settings import variable
from ...shipping import kafka, topics
from .findings import Failed, Finding, Setup


class Topic(NamedTuple):
    """An existing topic: its partitions, our rights, and its configuration unless it is hidden."""

    partitions: int
    configuration: dict[str, str] | None
    warnings: list[str]
    text: str


def _topic(setup: Setup, field: str, rights: set[AclOperation]) -> Topic | None:
    """A topic as the broker describes it; None if it is missing and may be created."""
    name = getattr(setup.settings, field)
    setting = f"{variable(field)}: {name}"
    admin = setup.admin()
    found = _describe(setup, admin, name, setting, rights)
    if found is None:
        _try_to_create(setup, admin, topics.new(setup.settings, name), setting)
        return None
    _check_rights(found, setting, rights)
    configuration = _configuration(setup, admin, name)
    hidden = ["its configuration is hidden without DescribeConfigs"] if configuration is None else []
    required = int((configuration or {}).get("min.insync.replicas", 1))
    replicas = _check_replicas(found, setting, required)
    warnings = hidden + replication_warnings(setup.brokers, replicas, required)
    count = len(found.partitions)
    text = f"{name}: {_counted(count, 'partition')}, {_counted(replicas, 'replica')}, may {_named(rights).lower()}"
    return Topic(count, configuration, warnings, text)


def _describe(setup: Setup, admin: AdminClient, name: str, setting: str, rights: set[AclOperation]) -> Any:
    """The broker's description of a topic; None if it is missing."""
    asked = {"include_authorized_operations": True, "request_timeout": setup.seconds}
    try:
        return admin.describe_topics(TopicCollection([name]), **asked)[name].result()
    except KafkaException as error:
        code = error.args[0].code()
        if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            need = _named(rights)
            raise Failed(f"{setting}: the ACLs hide whether it exists: allow {need}") from None
        raise Failed(f"{setting}: {error.args[0].str()}") from None


def _try_to_create(setup: Setup, admin: AdminClient, new: NewTopic, setting: str) -> None:
    """Raise `Failed` unless the topic may be created. It is not created."""
    try:
        admin.create_topics([new], validate_only=True, request_timeout=setup.seconds)[new.topic].result()
    except KafkaException as refusal:
        raise Failed(f"{setting}: is missing and may not be created: {refusal.args[0].str()}") from None


def _check_rights(found: Any, setting: str, rights: set[AclOperation]) -> None:
    # Brokers other than Apache Kafka may not report rights.
    if found.authorized_operations is not None and (lacking := rights - set(found.authorized_operations)):
        raise Failed(f"{setting}: the ACLs lack {_named(lacking)}")


def _configuration(setup: Setup, admin: AdminClient, name: str) -> dict[str, str] | None:
    """A topic's configuration; None if it is hidden."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    with contextlib.suppress(KafkaException):
        entries = admin.describe_configs([resource], request_timeout=setup.seconds)[resource].result()
        return {entry.name: entry.value for entry in entries.values()}
    return None


def _check_replicas(found: Any, setting: str, required: int) -> int:
    """The number of replicas of each partition. Raises `Failed` if a partition accepts no records."""
    if leaderless := [part.id for part in found.partitions if part.leader is None or part.leader.id < 0]:
        raise Failed(f"{setting}: partitions without a leader: {leaderless}")
    in_sync = min(len(part.isr) for part in found.partitions)
    replicas = min(len(part.replicas) for part in found.partitions)
    # Kafka requires at most as many in-sync replicas as there are replicas.
    if in_sync < min(required, replicas):
        raise Failed(f"{setting}: takes no records: {in_sync} replicas are in sync, min.insync.replicas is {required}")
    return replicas


def _named(rights: set[AclOperation]) -> str:
    return " and ".join(sorted(right.name.capitalize() for right in rights))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def replication_warnings(brokers: int, replicas: int, required: int) -> list[str]:
    """Warnings about events that may be lost, or shipping that may stop, when one of several brokers fails."""
    if brokers > 1 and replicas == 1:
        return ["one replica: the events are lost if its broker is lost"]
    if replicas > 1 and required == 1:
        return ["min.insync.replicas is 1: acknowledged events may be on one broker only"]
    if replicas > 1 and required >= replicas:
        return ["min.insync.replicas equals the number of replicas: nothing is written while one broker is down"]
    return []


def check_topic(setup: Setup) -> Finding:
    """Check that the topic of events exists or may be created, is writable, and keeps all events."""
    return _keeps_all(setup, "topic")


def check_rejected_topic(setup: Setup) -> Finding:
    """Check the topic of rejections, if they are shipped."""
    return _keeps_all(setup, "rejected_topic")


def check_aggregate_topic(setup: Setup) -> Finding:
    """Check the topic of counts."""
    return _keeps_all(setup, "aggregate_topic")


def _keeps_all(setup: Setup, field: str) -> Finding:
    """Check that a topic is writable and not compacted."""
    name = getattr(setup.settings, field)
    found = _topic(setup, field, {AclOperation.WRITE})
    if found is None:
        return Finding("ok", f"{name}: is missing and may be created, with the brokers' defaults")
    if "compact" in (found.configuration or {}).get("cleanup.policy", ""):
        raise Failed(f"{variable(field)}: {name}: is compacted: only the last event of each user would be kept")
    return _finding(found)


def check_last_open_topic(setup: Setup) -> Finding:
    """Check that the topic of last openings is compacted, so that it keeps only one day of each person."""
    name = setup.settings.last_open_topic
    found = _topic(setup, "last_open_topic", {AclOperation.WRITE})
    if found is None:
        return Finding("ok", f"{name}: is missing and may be created")
    if "compact" not in (policy := (found.configuration or {}).get("cleanup.policy", "compact")):
        raise Failed(f"{variable('last_open_topic')}: {name}: cleanup.policy is {policy}, must be compact")
    return _finding(found)


def check_checkpoint_topic(setup: Setup) -> Finding:
    """Check that the checkpoint topic exists or may be created, is compacted, and can be read like the forwarder reads it."""
    name = setup.settings.checkpoint_topic
    found = _topic(setup, "checkpoint_topic", {AclOperation.READ, AclOperation.WRITE})
    if found is None:
        return Finding("ok", f"{name}: is missing and may be created")
    if "compact" not in (policy := (found.configuration or {}).get("cleanup.policy", "compact")):
        raise Failed(f"{variable('checkpoint_topic')}: {name}: cleanup.policy is {policy}, must be compact")
    if found.partitions < topics.CHECKPOINT_PARTITIONS:
        text = f"{found.text}; below {topics.CHECKPOINT_PARTITIONS} partitions, all journals share the first"
        found = found._replace(text=text)
    # A consumer looks for its group's coordinator even if it joins no group.
    consumer = Consumer(
        {**kafka.client_config(setup.settings), "group.id": "pixelcore", "enable.auto.commit": "false"}
        | {"isolation.level": "read_committed", "enable.partition.eof": "true", "fetch.wait.max.ms": "10"}
    )
    try:
        consumer.assign([TopicPartition(name, 0, OFFSET_END)])
        message = consumer.poll(setup.seconds)
        error = message.error() if message is not None else KafkaError(KafkaError._TIMED_OUT)
        if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise Failed("the ACLs hide the consumer group pixelcore: allow Describe")
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise Failed(f"{variable('checkpoint_topic')}: {name}: cannot be read: {error.str()}")
    finally:
        consumer.close()
    setup.checkpoint_partitions = found.partitions
    found.warnings.extend(_hanging(setup, name, found.partitions))
    return _finding(found)


def check_consent_topic(setup: Setup) -> Finding:
    """Check that the consent topic exists or may be created, is compacted, and may be read and written."""
    name = setup.settings.consent_topic
    found = _topic(setup, "consent_topic", {AclOperation.READ, AclOperation.WRITE})
    if found is None:
        return Finding("ok", f"{name}: is missing and may be created")
    policy = (found.configuration or {}).get("cleanup.policy", "compact")
    if "compact" not in policy:
        raise Failed(f"{variable('consent_topic')}: {name}: cleanup.policy is {policy}, must be compact")
    if "delete" in policy:
        found.warnings.append(f"cleanup.policy is {policy}: a new gateway does not learn of old withdrawals")
    return _finding(found)


def _hanging(setup: Setup, name: str, partitions: int) -> list[str]:
    """A warning about partitions in which a transaction is open for longer than any of ours (KAFKA-12671)."""
    admin = setup.admin()
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(name, partition): latest for partition in range(partitions)}

    def gap() -> dict[int, int]:
        ends = []
        for isolation in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
            found = admin.list_offsets(asked, isolation_level=isolation, request_timeout=setup.seconds)
            ends.append({where.partition: future.result().offset for where, future in found.items()})
        stable, last = ends
        return {partition: stable[partition] for partition in stable if stable[partition] < last[partition]}

    with contextlib.suppress(KafkaException):
        first = gap()
        if first:
            # The transactions of running gateways end within a moment, and then the stable offset moves.
            time.sleep(min(2.0, setup.seconds / 2))
            second = gap()
            if stuck := sorted(partition for partition, offset in first.items() if second.get(partition) == offset):
                where = f"the readers of partitions {stuck}"
                return [f"an open transaction blocks {where}: run kafka-transactions.sh find-hanging --topic {name}"]
    return []


def _finding(topic: Topic) -> Finding:
    return Finding("warn" if topic.warnings else "ok", "; ".join([topic.text, *topic.warnings]))
