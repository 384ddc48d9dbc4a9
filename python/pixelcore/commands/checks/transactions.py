"""The check of transactions: it begins one, writes a record to the checkpoint topic, and aborts it. No consumer sees the record."""

from __future__ import annotations

import contextlib
import time
import uuid

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ConfigResource, OffsetSpec  # type: ignore[attr-defined]

from ...settings import variable
from ...shipping import kafka
from ...shipping.advice import NO_TRANSACTIONS
from .findings import Failed, Finding, Setup


def check_transactions(setup: Setup) -> Finding:
    """Check a transaction with an id like a journal's. It writes one record and is aborted, so no consumer sees the record."""
    began = time.monotonic()
    try:
        offset = _begin_and_abort(setup)
    except KafkaException as error:
        code, reason = error.args[0].code(), error.args[0].str()
        if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            raise Failed("the ACLs lack Write for transactional ids with the prefix pixelcore-") from None
        if code == KafkaError.INVALID_TRANSACTION_TIMEOUT:
            raise Failed("PIXELCORE_KAFKA_TRANSACTION_TIMEOUT_MS: is more than the brokers allow") from None
        if code in (
            KafkaError._TIMED_OUT,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        ):
            raise Failed(_why_none_begins(setup)) from None
        raise Failed(f"{reason}; brokers without transactions need {variable('delivery')}=at-least-once") from None
    taken = time.monotonic() - began
    if offset is not None:
        setup.broker_time = _newest(setup, *offset)
    return Finding("ok", f"begun and aborted in {taken:.1f} s")


def _why_none_begins(setup: Setup) -> str:
    """Why no transaction begins: the setting that prevents few brokers from creating the topic of transactions, if it is visible."""
    admin = setup.admin()
    for node in setup.nodes:
        resource = ConfigResource(ConfigResource.Type.BROKER, str(node))
        with contextlib.suppress(KafkaException):
            entries = admin.describe_configs([resource], request_timeout=setup.seconds)[resource].result()
            wanted = int(entries["transaction.state.log.replication.factor"].value)
            if wanted > setup.brokers:
                return (
                    f"transaction.state.log.replication.factor is {wanted}, but there are {setup.brokers} brokers,"
                    f" so no transaction can begin: set it to {setup.brokers} on the brokers and restart them"
                )
        break
    return NO_TRANSACTIONS


def _begin_and_abort(setup: Setup) -> tuple[TopicPartition, int] | None:
    """The partition and the offset of the record; None if there is no checkpoint topic yet."""
    identity = f"pixelcore-check-{uuid.uuid4()}"
    reports: list[tuple[KafkaError | None, int | None]] = []
    producer = kafka.producer(setup.settings, transactional_id=identity, delivery_report_only_error=False)
    producer.init_transactions(setup.seconds / 2)
    producer.begin_transaction()
    partition = _quietest(setup)
    if partition is not None:
        producer.produce(
            setup.settings.checkpoint_topic,
            key=identity,
            partition=partition.partition,
            timestamp=1,  # the oldest, so that the newest timestamp is the broker's own, that of the abort
            on_delivery=lambda error, message: reports.append((error, message.offset())),
        )
        producer.flush(setup.seconds / 2)
    producer.abort_transaction(setup.seconds)
    for error, offset in reports:
        if error is not None:
            raise KafkaException(error)
        return (partition, offset) if partition is not None and offset is not None and offset >= 0 else None
    return None


def _quietest(setup: Setup) -> TopicPartition | None:
    """The partition with the oldest records. In the others, the newest timestamp may be a gateway's instead of the broker's."""
    count = setup.checkpoint_partitions
    partitions = [TopicPartition(setup.settings.checkpoint_topic, index) for index in range(count)]
    if count > 1:
        admin = setup.admin()
        newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
        with contextlib.suppress(KafkaException):
            asked = admin.list_offsets(dict.fromkeys(partitions, newest), request_timeout=setup.seconds)
            times = {partition: future.result().timestamp for partition, future in asked.items()}
            return min(partitions, key=lambda partition: times[partition])
    return partitions[0] if partitions else None


def _newest(setup: Setup, partition: TopicPartition, offset: int) -> float | None:
    """A partition's newest timestamp in Unix seconds, after the end of the transaction with ``offset`` is written."""
    admin = setup.admin()
    latest, newest = OffsetSpec.latest(), OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    with contextlib.suppress(KafkaException):  # old brokers cannot tell
        while setup.seconds > 0.1:
            end = admin.list_offsets({partition: latest}, request_timeout=setup.seconds)[partition].result()
            if end.offset > offset + 1:
                found = admin.list_offsets({partition: newest}, request_timeout=setup.seconds)[partition].result()
                return float(found.timestamp) / 1000
            time.sleep(0.01)
    return None
