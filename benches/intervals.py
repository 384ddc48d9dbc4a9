"""What each batch interval costs a broker, by the rate of a worker: CPU, transactions, bytes on its disk, and the time to the topic.

    python -m benches.intervals [--quick]

A gateway of one worker ships what a driver sends on a schedule, and nobody reads the topic. The broker's CPU at rest is taken off.
Then the time to the topic is taken with a consumer. It takes five minutes, on a machine with nothing else to do: beside other
programs, a transaction takes several times as much CPU.
"""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benches import fixtures
from benches.latency import CONNECTIONS, to_topic
from benches.results import Part, Table, alone
from benches.servers import tree_seconds
from tests.kafka import topics
from tests.kafka.broker import Broker
from tests.support.servers import kafka_settings

INTERVALS: Final = ("20ms", "100ms", "500ms")
RATES: Final = (10, 125, 1000)
"""Events a second of the worker."""
MANY_PARTITIONS: Final = 60
MANY: Final = f"100ms, {RATES[-1]}/s, {MANY_PARTITIONS} partitions"
SECONDS: Final = 12.0
READ_SECONDS: Final = 5.0
"""With a consumer."""
PARTITIONS: Final = 4
LOG: Final = "__transaction_state"
COST_TITLE: Final = "Batch intervals, by events a second of a worker"


def written(broker: Broker) -> Counter[str]:
    """The bytes of each topic's log."""
    found: Counter[str] = Counter()
    for segment in (broker.directory / "data").glob("*/*.log"):
        found[segment.parent.name.rpartition("-")[0]] += segment.stat().st_size
    return found


def at_rest(broker: Broker, seconds: float) -> float:
    """CPU seconds a second of a broker whose gateway has nothing to ship."""
    before, began = tree_seconds(broker.pid), time.monotonic()
    time.sleep(seconds)
    return (tree_seconds(broker.pid) - before) / (time.monotonic() - began)


class Cell:
    """A rate at an interval, from now on until `row`."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker, self._topic = broker, topic
        self._records, self._written = topics.sizes(broker.bootstrap), written(broker)
        self._cpu, self._began = tree_seconds(broker.pid), time.monotonic()

    def row(self, events: int, rate: int, rest: float) -> dict[str, float]:
        """Its figures, where a broker at rest takes ``rest`` of a core."""
        cpu = tree_seconds(self._broker.pid) - self._cpu - rest * (time.monotonic() - self._began)
        grown = Counter(topics.sizes(self._broker.bootstrap))
        grown.subtract(self._records)
        bytes_grown = written(self._broker)
        bytes_grown.subtract(self._written)
        checkpoints = f"{self._topic}-checkpoints"
        transactions = grown[checkpoints] / 2  # a record and a marker each
        return {
            "transactions/s": transactions / events * rate,
            "broker us/event": cpu / events * 1e6,
            "broker us/transaction": cpu / transactions * 1e6,
            "markers in the topic/transaction": (grown[self._topic] - events) / transactions,
            "transaction log bytes/transaction": bytes_grown[LOG] / transactions,
            "checkpoint bytes/transaction": bytes_grown[checkpoints] / transactions,
            "topic bytes/event": bytes_grown[self._topic] / events,
        }


def gateway(
    directory: Path, broker: Broker, interval: str, rates: Sequence[int], partitions: int, seconds: float
) -> dict[int, dict[str, float]]:
    """The row of each rate, of a gateway with this interval and a topic with so many partitions."""
    cores = fixtures.cores()
    topic = f"intervals-{uuid.uuid4().hex[:8]}"
    topics.create(broker.bootstrap, topic, partitions)
    settings = kafka_settings(broker.bootstrap, topic) | {"PIXELCORE_BATCH_INTERVAL": interval}
    rows = {}
    with fixtures.gateway(directory, topic, cores.server, settings) as server:
        server.first_answer()
        fixtures.drive(server, int(seconds * RATES[-1]) // 3, CONNECTIONS, cores.driver, "--rate", str(RATES[-1]))
        rest = at_rest(broker, seconds / 2)
        for rate in rates:
            cell = Cell(broker, topic)
            events = int(rate * seconds)
            fixtures.drive(server, events, CONNECTIONS, cores.driver, "--rate", str(rate))
            rows[rate] = cell.row(events, rate, rest)
            read = int(rate * min(seconds, READ_SECONDS))
            delays = to_topic(server, broker.bootstrap, topic, cores.driver, read, rate)
            rows[rate]["to the topic, median ms"] = statistics.median(delays)
    return rows


def measure(directory: Path, quick: bool) -> Part:
    """All rates at all intervals. Raises `LeftOutError` where there is no Kafka."""
    cores = fixtures.cores()
    seconds = 3.0 if quick else SECONDS
    table: Table = {}
    # So few events leave the driver its core.
    with fixtures.broker(directory, cores.broker, gives_way=False) as broker:
        for interval in INTERVALS:
            for rate, row in gateway(directory, broker, interval, RATES, PARTITIONS, seconds).items():
                table[f"{interval}, {rate}/s"] = row
        (row,) = gateway(directory, broker, "100ms", RATES[-1:], MANY_PARTITIONS, seconds).values()
        table[MANY] = row
    return {"figures": {COST_TITLE: table}, "goals": []}


if __name__ == "__main__":
    sys.exit(alone("intervals", measure))
