"""A backlog after a long outage of Kafka: a gateway starts with ten million events, and ships them.

python -m benches.backlog [--quick]
"""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pixelcore
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from pixelcore.journals import EVENTS

from benches import fixtures
from benches.driver import CHROME, target
from benches.growth import forward
from benches.resources import COMMANDS, resident, start_seconds
from benches.results import Goal, Part, Table, alone, goal
from benches.servers import Server
from tests.kafka import topics
from tests.support.servers import kafka_settings

BACKLOG: Final = "backlog"
PARTITIONS: Final = 4
PLACEHOLDER: Final = "00000000"


def fill(data: Path, events: int) -> int:
    """A finished journal of so many events in segments of the usual size, each with its own person and ``mid``; its bytes."""
    query = f"{target(0).partition('?')[2].replace('user_00000', f'user_{PLACEHOLDER}')}&mid=backlog-{PLACEHOLDER}"
    line = pixelcore.event("track", query, ip="203.0.113.7", user_agent=CHROME)
    # Made once, since reading a query takes longer than all the rest.
    mid, user = (part.encode() for part in (f"backlog-{PLACEHOLDER}", f"user_{PLACEHOLDER}"))
    line = line.replace(mid, b"backlog-%(n)08d").replace(user, b"user_%(u)08d")
    with pixelcore.Journal(data / EVENTS) as journal:
        for number in range(events):
            journal.append(line % {b"n": number, b"u": number % 100_000})
        return journal.end


def starts(settings: Mapping[str, str], directory: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds from the start of the process to its first GIF, without and with the backlog, one after the other."""
    found: dict[str, list[float]] = {"empty": [], BACKLOG: []}
    for _ in range(rounds):
        for name, taken in found.items():
            # The less is shipped in passing, the better.
            own = {"PIXELCORE_DATA_DIR": str(directory / name), "PIXELCORE_DRAIN_SECONDS": "0"}
            taken.append(start_seconds(COMMANDS["pixelcore serve"], {**settings, **own}, directory))
    return found


def committed(data: Path) -> int:
    """The offset below which the first journal is in the topic; all of it once it is deleted."""
    journal = min((data / EVENTS).iterdir())
    try:
        return int((journal / "committed").read_bytes())
    except (FileNotFoundError, ValueError):
        return 0


def count(bootstrap: str, topic: str) -> int:
    """The committed messages of a topic, as a ``read_committed`` consumer sees them."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "backlog",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    found, ended = 0, set[int | None]()
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
        while len(ended) < PARTITIONS:
            for message in consumer.consume(10_000, 1.0):
                error = message.error()
                if error is None:
                    found += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
    finally:
        consumer.close()
    return found


def drain(server: Server, data: Path, total: int, events: int) -> tuple[Table, dict[str, float]]:
    """Let the running server ship everything: the worker's memory at each tenth of the way, and how fast it was."""
    journal = min((data / EVENTS).iterdir())
    table: Table = {}
    began, first, cpu = time.monotonic(), committed(data), server.cpu()
    tenth = 1
    while journal.exists():
        if committed(data) * 10 >= total * tenth and tenth < 10:
            table[f"{events * tenth // 10:,} shipped"] = {"RSS MB": resident(server), "s": time.monotonic() - began}
            tenth += 1
        time.sleep(0.02)
    seconds, cpu = time.monotonic() - began, server.cpu() - cpu
    table[f"{events:,} shipped"] = {"RSS MB": resident(server), "s": seconds}
    shipped = events * (total - first) / total
    return table, {"events/s": shipped / seconds, "CPU us/event": cpu / shipped * 1e6}


def measure(directory: Path, quick: bool) -> Part:
    """All of it. Raises `LeftOutError` where there is no Kafka."""
    cores = fixtures.cores()
    events, rounds = (200_000, 1) if quick else (10_000_000, 5)
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    with fixtures.broker(directory, cores.broker) as broker:
        topics.create(broker.bootstrap, topic, PARTITIONS)
        settings = kafka_settings(broker.bootstrap, topic)
        data = directory / BACKLOG
        total = fill(data, events)
        with fixtures.pinned(cores.server):
            began = starts(settings, directory, rounds)
        with fixtures.gateway(directory, BACKLOG, cores.server, settings) as server:
            server.first_answer()
            table, speed = drain(server, data, total, events)
        # A gateway that was ended at once may still have its only event.
        for name in ("empty", BACKLOG):
            forward(directory / name, settings, cores.server)
        shipped = count(broker.bootstrap, topic)
    if shipped != (journaled := events + 2 * rounds + 1):
        raise AssertionError(f"{journaled} events were journaled, and {shipped} shipped")
    memory = [row["RSS MB"] for row in table.values()]
    medians = {name: statistics.median(taken) for name, taken in began.items()}
    goals: list[Goal] = [
        goal("start to first answer with a backlog, s", medians[BACKLOG], "<", 1),
        goal("drain of a backlog beside the server, events/s", speed["events/s"], ">=", 100_000),
        goal("RSS while shipping a backlog: highest to first", max(memory) / memory[0], "<=", 1.1),
    ]
    figures: dict[str, Table] = {
        "Start to first answer with a backlog": {name: {"s": taken} for name, taken in medians.items()},
        "Shipping a backlog": {"gateway": {"events": events, "bytes": total, **speed}},
        "A backlog on its way": table,
    }
    return {"figures": figures, "goals": goals}


if __name__ == "__main__":
    sys.exit(alone("backlog", measure))
