"""What is done to brokers, a function a row."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.brokers.certificates import STORE_PASSWORD, Authority
from tests.brokers.run import CHECKPOINTS, OLDEST, TOPIC, VERSIONS, BrokenError, Outcome, Run
from tests.kafka.broker import free_port
from tests.kafka.topics import alter, create

NEWEST = VERSIONS[:1]
USER, PASSWORD = "gateway", "first-password"
ALLOW = AclPermissionType.ALLOW

Act = Callable[[Run], None]
F = TypeVar("F", bound=Act)


@dataclass(frozen=True)
class Row:
    """What is done, and with which versions."""

    name: str
    title: str
    versions: tuple[str, ...]
    act: Act


ROWS: dict[str, Row] = {}


def row(title: str, versions: tuple[str, ...] = NEWEST) -> Callable[[F], F]:
    """Enter a function into the matrix."""

    def enter(act: F) -> F:
        ROWS[act.__name__] = Row(act.__name__, title, versions, act)
        return act

    return enter


def carry_out(row: Row, version: str, directory: Path) -> Outcome:
    """One row with one version, counted."""
    one = Run(directory / f"{row.name}-{version}", version)
    trouble = None
    try:
        try:
            row.act(one)
        except BrokenError as error:
            trouble = str(error)
        except (AssertionError, KafkaException, OSError, RuntimeError):  # of the row itself; the others go on
            trouble = traceback.format_exc()
        return one.outcome(row.title, trouble)
    finally:
        one.close()


def admin(run: Run) -> AdminClient:
    """Somebody who may do everything; it must live as long as its requests."""
    return AdminClient({"bootstrap.servers": run.broker.bootstrap})


def kafka(**properties: str) -> dict[str, str]:
    """Settings of librdkafka's properties."""
    return {f"PIXELCORE_KAFKA_{name.upper()}": value for name, value in properties.items()}


@row("the gateway is killed, the broker stops, is killed, and starts again", VERSIONS)
def plain(run: Run) -> None:
    run.broker.start()
    run.begin()
    run.answers(5)
    run.kill()
    run.answers(3)
    for end in (run.broker.stop, run.broker.kill):
        end()
        run.answers(3)
        run.broker.start()
        run.arrives()
    run.kill()
    run.answers(3)


@row("it is upgraded twice, from 3.3.2 to 4.4.0", ("3.3.2",))
def upgrade(run: Run) -> None:
    run.broker.start()
    run.begin()
    for version in ("3.9.1", None):
        run.answers(5)
        run.broker.stop()
        run.broker.version = version
        run.answers(2)
        run.broker.start()
        run.arrives()
        run.kill()
    run.answers(3)


@row("a lone broker with Kafka's own defaults, which are then changed", (*NEWEST, OLDEST))
def lone(run: Run) -> None:
    replicas = "transaction.state.log.replication.factor"
    run.broker.properties |= {replicas: "3", "transaction.state.log.min.isr": "2"}
    run.broker.start()
    run.begin()
    run.is_told(replicas, "transactions")
    run.broker.stop()
    run.broker.properties |= {replicas: "1", "transaction.state.log.min.isr": "1"}
    run.broker.start()
    run.arrives()


@row("it does not answer for more than a minute, with its connections open")
def silent(run: Run) -> None:
    run.broker.start()
    run.begin()
    run.answers(3)
    run.broker.pause()
    try:
        run.is_told("no events have reached Kafka", "brokers")
    finally:
        run.broker.resume()
    run.arrives()


@row("SASL_SSL with SCRAM-SHA-512; the password is changed, and the gateway has the new one later", (*NEWEST, OLDEST))
def scram(run: Run) -> None:
    settings = _signed_in(run, "SCRAM-SHA-512", "scram.ScramLoginModule required;") | kafka(
        sasl_username=USER, sasl_password=PASSWORD
    )
    run.broker.start()
    _set_password(run, PASSWORD)
    run.begin(settings)
    run.answers(5)
    run.kill()
    _set_password(run, "second-password")
    run.is_told("SASL", "brokers")
    run.server.restart(**kafka(sasl_password="second-password"))
    run.arrives()
    run.answers(3)


@row("SASL_SSL with OAUTHBEARER; tokens that last for ten seconds")
def oauth(run: Run) -> None:
    module = 'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="kafka";'
    settings = _signed_in(run, "OAUTHBEARER", module) | kafka(
        enable_sasl_oauthbearer_unsecure_jwt="true", sasl_oauthbearer_config=f"principal={USER} lifeSeconds=10"
    )
    run.broker.start()
    run.begin(settings)
    run.answers(15)
    run.kill()
    run.answers(15)


@row("mTLS; the broker's certificate is renewed while it runs, and is then one that the gateway does not trust")
def mtls(run: Run) -> None:
    authority, stranger = Authority(run.directory, "ours"), Authority(run.directory, "theirs")
    client = authority.issue(USER)
    location = "listener.name.ssl.ssl.keystore.location"
    first, second = authority.issue("broker"), authority.issue("broker", "renewed")
    wrong = stranger.issue("broker", "strange")
    address = _listen(run, "SSL")
    run.broker.properties |= _stores(authority, "ssl", first) | {"listener.name.ssl.ssl.client.auth": "required"}
    run.broker.start()
    run.begin(
        kafka(
            bootstrap_servers=address,
            security_protocol="SSL",
            ssl_ca_location=str(authority.file),
            ssl_certificate_location=str(client),
            ssl_key_location=str(client),
        )
    )
    run.answers(5)
    _alter_broker(run, location, str(second.with_suffix(".p12")))
    run.kill()
    run.arrives()
    _alter_broker(run, location, None)
    for store in (wrong, second):
        run.broker.stop()
        run.broker.properties[location] = str(store.with_suffix(".p12"))
        run.broker.start()
        if store is wrong:
            run.is_told("certificate verify failed", "brokers")
    run.arrives()


RIGHTS: Mapping[str, tuple[ResourceType, str, ResourcePatternType, AclOperation]] = {
    "write": (ResourceType.TOPIC, TOPIC, ResourcePatternType.LITERAL, AclOperation.WRITE),
    "checkpoint": (ResourceType.TOPIC, CHECKPOINTS, ResourcePatternType.LITERAL, AclOperation.WRITE),
    "read": (ResourceType.TOPIC, CHECKPOINTS, ResourcePatternType.LITERAL, AclOperation.READ),
    "group": (ResourceType.GROUP, "pixelcore", ResourcePatternType.LITERAL, AclOperation.DESCRIBE),
    "transactions": (
        ResourceType.TRANSACTIONAL_ID,
        "pixelcore-",
        ResourcePatternType.PREFIXED,
        AclOperation.WRITE,
    ),
}


@row("the right to write events is revoked, and granted again", (*NEWEST, "3.3.2"))
def write_revoked(run: Run) -> None:
    _revoked(run, "write", "the ACLs", "topic")


@row("the right to write checkpoints is revoked, and granted again")
def checkpoints_revoked(run: Run) -> None:
    _revoked(run, "checkpoint", "the ACLs", "checkpoint topic")


@row("the right to the transactional ids is revoked, and granted again")
def transactions_revoked(run: Run) -> None:
    _revoked(run, "transactions", "Transactional Id authorization failed", "transactions")


@row("two replicas must be in sync where there is one, which brokers let be")
def understaffed(run: Run) -> None:
    run.broker.start()
    run.begin()
    run.arrives()
    alter(run.broker.bootstrap, TOPIC, "min.insync.replicas", "2")
    run.answers(5)
    run.kill()
    run.answers(5)


@row("partitions are added to both topics, and the gateway is killed", (*NEWEST, OLDEST))
def partitions_added(run: Run) -> None:
    run.broker.start()
    run.begin()
    run.arrives()
    wanted = [NewPartitions(TOPIC, 12), NewPartitions(CHECKPOINTS, 40)]
    client = admin(run)
    for future in client.create_partitions(wanted).values():
        future.result(60)
    run.answers(5)
    run.kill()
    run.answers(5)


@row("the topic of checkpoints is deleted, twice, and the gateway is killed after the second time")
def checkpoints_deleted(run: Run) -> None:
    run.broker.start()
    run.begin()
    for kill in (False, True):
        run.answers(4)
        client = admin(run)
        client.delete_topics([CHECKPOINTS])[CHECKPOINTS].result(60)
        if kill:
            run.kill()
        run.arrives()


@row("a quota of a tenth of what is sent, for a quarter of a minute", ("3.9.1",))
def quota(run: Run) -> None:
    run.broker.start()
    run.begin()
    run.arrives()
    _quota(run, "--add-config", "producer_byte_rate=4000")
    run.answers(15)
    _quota(run, "--delete-config", "producer_byte_rate")
    run.arrives()


@row("transactional ids and producer ids expire after a second without events")
def expiring(run: Run) -> None:
    run.broker.properties |= {
        "transactional.id.expiration.ms": "1000",
        "producer.id.expiration.ms": "1000",
        "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
        "producer.id.expiration.check.interval.ms": "500",
    }
    run.broker.start()
    run.begin()
    for _ in range(3):
        run.answers(3)
        run.load.pause()
        time.sleep(5)
        run.load.resume()
    run.answers(3)


def _listen(run: Run, protocol: str) -> str:
    """The address of a further listener."""
    run.broker.addresses[protocol] = f"127.0.0.1:{free_port()}"
    return run.broker.addresses[protocol]


def _stores(authority: Authority, listener: str, issued: Path) -> dict[str, str]:
    prefix = f"listener.name.{listener}.ssl"
    return {
        f"{prefix}.keystore.type": "PKCS12",
        f"{prefix}.keystore.location": str(issued.with_suffix(".p12")),
        f"{prefix}.keystore.password": STORE_PASSWORD.decode(),
        f"{prefix}.truststore.type": "PEM",
        f"{prefix}.truststore.location": str(authority.file),
    }


def _signed_in(run: Run, mechanism: str, module: str) -> dict[str, str]:
    """A listener with TLS and a way to sign in, and the settings of who uses it."""
    authority = Authority(run.directory, "ours")
    address = _listen(run, "SASL_SSL")
    jaas = f"listener.name.sasl_ssl.{mechanism.lower()}.sasl.jaas.config"
    run.broker.properties |= _stores(authority, "sasl_ssl", authority.issue("broker")) | {
        "sasl.enabled.mechanisms": mechanism,
        jaas: f"org.apache.kafka.common.security.{module}",
        "connections.max.reauth.ms": "5000",  # without it, who has signed in once is never asked again
    }
    return kafka(
        bootstrap_servers=address,
        security_protocol="SASL_SSL",
        sasl_mechanisms=mechanism,
        ssl_ca_location=str(authority.file),
    )


def _set_password(run: Run, password: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = UserScramCredentialUpsertion(USER, info, password.encode())
    client = admin(run)
    client.alter_user_scram_credentials([wanted])[USER].result(60)


def _alter_broker(run: Run, name: str, value: str | None) -> None:
    """Change a running broker's property; None takes the change back."""
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(name, value, incremental_operation=operation)
    resource = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[entry])
    client = admin(run)
    client.incremental_alter_configs([resource])[resource].result(60)


def _revoked(run: Run, right: str, words: str, check: str) -> None:
    """A user who has just the rights that suffice loses one for more than a minute."""
    address = _listen(run, "SASL_PLAINTEXT")
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    run.broker.properties |= {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # everybody on a listener without SASL
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{module} required user_{USER}="{PASSWORD}";',
    }
    run.broker.start()
    create(run.broker.bootstrap, TOPIC, 3)
    create(run.broker.bootstrap, CHECKPOINTS, 25, compacted=True)
    rights = {name: AclBinding(*each[:3], f"User:{USER}", "*", each[3], ALLOW) for name, each in RIGHTS.items()}
    client = admin(run)
    for future in client.create_acls(list(rights.values())).values():
        future.result(60)
    run.begin(
        kafka(
            bootstrap_servers=address,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanisms="PLAIN",
            sasl_username=USER,
            sasl_password=PASSWORD,
        )
    )
    run.arrives()
    run.answers(3)
    kind, name, pattern, operation = RIGHTS[right]
    gone = AclBindingFilter(kind, name, pattern, f"User:{USER}", "*", operation, ALLOW)
    client.delete_acls([gone])[gone].result(60)
    run.is_told(words, check)
    client.create_acls([rights[right]])[rights[right]].result(60)
    run.arrives()


def _quota(run: Run, *change: str) -> None:
    entity = ("--entity-type", "clients", "--entity-name", "pixelcore")
    server = ("--bootstrap-server", run.broker.bootstrap)
    run.broker.tool("kafka.admin.ConfigCommand", *server, "--alter", *entity, *change)
