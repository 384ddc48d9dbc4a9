"""A broker with rights, and the topics that tests of ``pixelcore check`` speak of.

On its plain listener, all clients may do everything. On the one with SASL, each user lacks one right that a gateway needs, and is
named after it. The one with TLS advertises an unreachable address.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from tests.kafka.broker import Broker, kafka_jars
from tests.support.waiting import wait_for

TOPIC, GROUP, TRANSACTIONS = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
RIGHTS = {
    "describe": (TOPIC, "*", AclOperation.DESCRIBE),
    "configs": (TOPIC, "*", AclOperation.DESCRIBE_CONFIGS),
    "write": (TOPIC, "events", AclOperation.WRITE),
    "checkpoint": (TOPIC, "checkpoints", AclOperation.WRITE),
    "read": (TOPIC, "checkpoints", AclOperation.READ),
    "create": (TOPIC, "missing", AclOperation.CREATE),
    "group": (GROUP, "pixelcore", AclOperation.DESCRIBE),
    "transactions": (TRANSACTIONS, "pixelcore-", AclOperation.WRITE),
}
# No gateway needs to see configurations, and the right to write includes the right to describe.
FRUGAL = ("write", "checkpoint", "read", "group", "transactions")
USERS = {"gateway": tuple(RIGHTS), "frugal": FRUGAL, "nobody": ()} | {
    f"no_{lacking}": tuple(name for name in RIGHTS if name != lacking) for lacking in RIGHTS
}


def properties(directory: Path) -> dict[str, str]:
    """A broker with users, and with a certificate that nobody trusts."""
    keystore = directory / "keystore.p12"
    keytool = ["keytool", "-genkeypair", "-keyalg", "EC", "-dname", "CN=localhost", "-storetype", "PKCS12"]
    subprocess.run([*keytool, "-keystore", keystore, "-storepass", "secret"], check=True, capture_output=True)
    users = " ".join(f'user_{user}="{user}-secret"' for user in USERS)
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # all clients on a listener without SASL
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{plain} required {users};",
        "ssl.keystore.location": str(keystore),
        "ssl.keystore.password": "secret",
        "ssl.keystore.type": "PKCS12",
    }


def binding(user: str, right: str) -> AclBinding:
    kind, name, operation = RIGHTS[right]
    pattern = ResourcePatternType.PREFIXED if kind == TRANSACTIONS else ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def signed_in(broker: Broker, user: str, password: str | None = None) -> dict[str, str]:
    return {
        "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": broker.addresses["SASL_PLAINTEXT"],
        "PIXELCORE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "PIXELCORE_KAFKA_SASL_MECHANISMS": "PLAIN",
        "PIXELCORE_KAFKA_SASL_USERNAME": user,
        "PIXELCORE_KAFKA_SASL_PASSWORD": password or f"{user}-secret",
    }


def _wait_for(admin: AdminClient, topics: set[str], rights: int) -> None:
    """Wait until the broker has followed the controller: its changes are in force a moment later."""
    any_: Any = None
    everything = AclBindingFilter(
        ResourceType.ANY, any_, ResourcePatternType.ANY, any_, any_, AclOperation.ANY, AclPermissionType.ANY
    )

    def are_there() -> bool:
        found = admin.describe_acls(everything).result(60)
        return len(found) == rights and topics <= admin.list_topics(timeout=60).topics.keys()

    wait_for(are_there, 90, "the topics and rights")


@contextmanager
def secured_broker(directory: Path) -> Iterator[Broker]:
    """The broker, running."""
    kafka_jars()
    started = Broker(directory / "kafka", properties(directory), ("SASL_PLAINTEXT", "SSL"))
    listeners = started.addresses | {"SSL": "kafka.invalid:9093"}
    started.properties["advertised.listeners"] = ",".join(f"{name}://{there}" for name, there in listeners.items())
    with started:
        admin = AdminClient({"bootstrap.servers": started.bootstrap})
        compact = {"cleanup.policy": "compact"}
        topics = [
            NewTopic("events", 3),
            NewTopic("checkpoints", 25, config=compact),
            NewTopic("compacted-events", 1, config=compact),
            NewTopic("understaffed-events", 1, config={"min.insync.replicas": "2"}),
            NewTopic("forgetful-checkpoints", 1),
            NewTopic("rejections", 1),
            NewTopic("half-forgetful-checkpoints", 25, config={"cleanup.policy": "compact,delete"}),
            NewTopic("wide-checkpoints", 3, config=compact),
            NewTopic("future-checkpoints", 1, config=compact),
        ]
        acls = [binding(user, right) for user, rights in USERS.items() for right in rights]
        for future in [*admin.create_acls(acls).values(), *admin.create_topics(topics).values()]:
            future.result(60)
        _wait_for(admin, {topic.topic for topic in topics}, len(acls))
        producer = Producer({"bootstrap.servers": started.bootstrap})
        producer.produce("future-checkpoints", b"{}", b"another", timestamp=int((time.time() + 1800) * 1000))
        assert producer.flush(60) == 0
        yield started
