"""Three Kafka nodes, which gateways reach through proxies and the harness directly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confluent_kafka.admin import AdminClient
from typing_extensions import Self

from tests.chaos.proxy import Network, Proxies
from tests.kafka.broker import Broker, free_port

NODES = 3
START_SECONDS = 120.0

PROPERTIES = {
    "num.partitions": "3",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # Shorter than the defaults, 30 s and 10 s, so that a run need not wait for them.
    "replica.lag.time.max.ms": "5000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "2000",
}


class Cluster:
    """Replication 3, min.insync.replicas 2: acknowledged records survive the end of any one node."""

    def __init__(self, directory: Path) -> None:
        self.network = Network()
        self._proxies = Proxies(self.network)
        self.brokers = [Broker(directory / f"broker-{node}", PROPERTIES) for node in range(1, NODES + 1)]
        voters = ",".join(f"{node}@127.0.0.1:{broker.controller_port}" for node, broker in self._numbered())
        through_proxies: list[str] = []
        for node, broker in self._numbered():
            inner = free_port()
            through_proxies.append(f"127.0.0.1:{self._proxies.add(inner)}")
            broker.properties |= {
                "node.id": str(node),
                "controller.quorum.voters": voters,
                "listeners": (
                    f"PLAINTEXT://{broker.bootstrap},GATEWAYS://127.0.0.1:{inner},"
                    f"CONTROLLER://127.0.0.1:{broker.controller_port}"
                ),
                "advertised.listeners": f"PLAINTEXT://{broker.bootstrap},GATEWAYS://{through_proxies[-1]}",
                "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,GATEWAYS:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
            }
        self.bootstrap = ",".join(broker.bootstrap for broker in self.brokers)
        self.bootstrap_of_gateways = ",".join(through_proxies)

    def __enter__(self) -> Self:
        self.start(self.brokers)
        return self

    def __exit__(self, *exc: object) -> None:
        for broker in self.brokers:
            broker.kill()
        self._proxies.close()

    def start(self, brokers: Iterable[Broker]) -> None:
        """Start nodes at the same time, because one alone may be too few for a quorum."""
        _all(lambda broker: broker.start(START_SECONDS), brokers)

    def kill(self, brokers: Iterable[Broker]) -> None:
        """``kill -9`` of nodes at the same time."""
        _all(lambda broker: broker.kill(), brokers)

    def leader(self, topic: str, partition: int = 0) -> Broker:
        """The node that leads a partition."""
        found = AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(topic, timeout=30).topics[topic]
        return self.brokers[found.partitions[partition].leader - 1]

    def replication(self, topic: str) -> set[int]:
        """The numbers of replicas of a topic's partitions."""
        found = AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(topic, timeout=30).topics[topic]
        return {len(partition.replicas) for partition in found.partitions.values()}

    def _numbered(self) -> Iterable[tuple[int, Broker]]:
        return enumerate(self.brokers, start=1)


def _all(work: Callable[[Broker], None], brokers: Iterable[Broker]) -> None:
    with ThreadPoolExecutor(NODES) as pool:
        list(pool.map(work, brokers))
