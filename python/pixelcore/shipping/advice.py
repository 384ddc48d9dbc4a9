"""Advice to the operator for each error of Kafka. ``docs/troubleshooting.md`` has the same at length."""

from __future__ import annotations

from confluent_kafka import KafkaError

from ..settings import KAFKA_PREFIX, variable

NO_TRANSACTIONS = (
    "the brokers begin no transaction: with fewer brokers than transaction.state.log.replication.factor (3 unless set),"
    " they cannot create the topic of transactions; set it on the brokers to their number, and restart them"
)

ADVICE = {
    KafkaError._ALL_BROKERS_DOWN: "check the brokers and the network",
    KafkaError._AUTHENTICATION: f"check {KAFKA_PREFIX}SASL_* and the brokers' users",
    KafkaError._RESOLVE: "the brokers' advertised.listeners must name hosts that resolve here",
    KafkaError._SSL: f"check {KAFKA_PREFIX}SSL_* and the brokers' certificates",
    KafkaError._TRANSPORT: f"check the brokers, the network, and {KAFKA_PREFIX}BOOTSTRAP_SERVERS",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the ACLs must allow IdempotentWrite on the cluster",
    KafkaError.COORDINATOR_NOT_AVAILABLE: NO_TRANSACTIONS,
    KafkaError.INVALID_TRANSACTION_TIMEOUT: f"{KAFKA_PREFIX}TRANSACTION_TIMEOUT_MS is more than the brokers allow",
    KafkaError.NOT_ENOUGH_REPLICAS: "fewer replicas are in sync than the topic's min.insync.replicas",
    KafkaError.SASL_AUTHENTICATION_FAILED: f"check {KAFKA_PREFIX}SASL_* and the brokers' users",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (
        f"the ACLs must allow Write on {variable('topic')}, and Read and Write on {variable('checkpoint_topic')}"
    ),
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (
        "the ACLs must allow Write on transactional ids with the prefix pixelcore-"
    ),
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic is missing, and pixelcore may not create it: create it",
    KafkaError._UNKNOWN_TOPIC: "the topic is missing, and pixelcore may not create it: create it",
}


def advise(error: KafkaError) -> str:
    """The text of an error, and the advice for it."""
    advice = ADVICE.get(error.code())
    return f"{error.str()}; {advice}" if advice else str(error.str())
