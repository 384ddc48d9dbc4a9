"""The rate of a backlog to topics that take little or refuse events, and the wait of a worker's own event for orphaned journals.

python -m benches.refusals [--quick]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pixelcore
from pixelcore.journals import EVENTS

from benches import fixtures
from benches.growth import forward
from benches.results import Goal, Part, Table, alone, goal
from tests.kafka import topics
from tests.support.servers import kafka_settings

SIZE: Final = 500
"""Bytes of an event."""
LIMITS: Final = {"1 MB": 1_000_000, "100 kB": 100_000, "10 kB": 10_000}
ORPHANS: Final = 50
OWN: Final = "own"
MID: Final = "refusals-"

Events = Callable[[int], bytes]
"""The event of a number."""


def event(number: int, *, size: int = SIZE, person: bool = True) -> bytes:
    """One event of about so many bytes."""
    query = f"wk=dk_1&e=E&mid={MID}{number}" + (f"&uid=user_{number % 1000}" if person else "")
    bare = len(pixelcore.event("track", query))
    return pixelcore.event("track", f"{query}&p.x={'x' * max(0, size - bare - 24)}", max_query_bytes=10**7)


def fill(data: Path, events: range, of: Events) -> None:
    """A finished journal."""
    with pixelcore.Journal(data / EVENTS) as journal:
        for number in events:
            journal.append(of(number))


def limits(directory: Path, bootstrap: str, core: int | None, quick: bool) -> Table:
    """Events a second with each greatest size of a batch, the medians of rounds that take turns."""
    events, rounds = (5_000, 1) if quick else (100_000, 3)
    taken: dict[str, list[float]] = {name: [] for name in LIMITS}
    for number in range(rounds):
        for name, limit in LIMITS.items():
            topic = f"limits-{limit}-{number}"
            topics.create(bootstrap, topic, 4, config={"max.message.bytes": str(limit)})
            fill(directory / topic, range(events), event)
            taken[name].append(forward(directory / topic, kafka_settings(bootstrap, topic), core))
    return {name: {"events/s": events / statistics.median(found)} for name, found in taken.items()}


def refused(directory: Path, bootstrap: str, core: int | None) -> Table:
    """Seconds until all is in the topic or set aside, with the events that the topic refuses, and without."""
    cases: dict[str, tuple[dict[str, str], Events]] = {
        "30 of 6,000 are larger than max.message.bytes": (
            {"max.message.bytes": "60000"},
            lambda number: event(number, size=120_000 if number % 200 == 7 else SIZE),
        ),
        "600 of 6,000 have no key, in a compacted topic": (
            {"cleanup.policy": "compact"},
            lambda number: event(number, person=number % 10 != 7),
        ),
        "none of 6,000": ({}, event),
    }
    table: Table = {}
    for name, (config, of) in cases.items():
        topic = f"refused-{uuid.uuid4().hex[:8]}"
        topics.create(bootstrap, topic, 4, config=config)
        fill(directory / topic, range(6_000), of)
        table[name] = {"s": forward(directory / topic, kafka_settings(bootstrap, topic), core)}
    return table


def orphans(directory: Path, bootstrap: str, core: int | None) -> Table:
    """Seconds until a worker's first event is in the topic, beside journals that others left, and until all are."""
    topic = "orphans"
    topics.create(bootstrap, topic, 4)
    for number in range(ORPHANS):
        fill(directory / topic, range(number * 100, number * 100 + 100), event)
    server = fixtures.gateway(directory, topic, core, kafka_settings(bootstrap, topic))
    with topics.Reader(bootstrap, topic) as reader, server:
        server.first_answer()
        began = time.monotonic()
        found: dict[str, float] = {}

        def looks(messages: list[topics.Message]) -> bool:
            mids = {json.loads(message.value)["messageId"] for message in messages}
            left = sum(mid.startswith(MID) for mid in mids)
            for name, there in ((OWN, len(mids) > left), ("orphans", left == ORPHANS * 100)):
                if there:
                    found.setdefault(name, time.monotonic() - began)
            return len(found) == 2

        if not reader.until(looks, 120):
            raise AssertionError(f"after two minutes there is {found}")
    return {name: {"s": seconds} for name, seconds in found.items()}


def measure(directory: Path, quick: bool) -> Part:
    """All of it. Raises `LeftOutError` where there is no Kafka."""
    cores = fixtures.cores()
    with fixtures.broker(directory, cores.broker) as broker:
        rates = limits(directory, broker.bootstrap, cores.server, quick)
        seconds = refused(directory, broker.bootstrap, cores.server)
        waiting = orphans(directory, broker.bootstrap, cores.server)
    goals: list[Goal] = [
        goal("rate with max.message.bytes of 10 kB / of 1 MB", _ratio(rates), ">=", 0.5),
        goal(f"own first event in the topic beside {ORPHANS} orphans, s", waiting[OWN]["s"], "<=", 1),
        goal(f"{ORPHANS} orphans shipped, s", waiting["orphans"]["s"], "<=", 5),
    ]
    figures = {
        "Shipping by the topic's greatest batch": rates,
        "Shipping what a topic refuses": seconds,
        f"A worker beside {ORPHANS} orphaned journals": waiting,
    }
    return {"figures": figures, "goals": goals}


def _ratio(rates: Mapping[str, Mapping[str, float]]) -> float:
    return rates["10 kB"]["events/s"] / rates["1 MB"]["events/s"]


if __name__ == "__main__":
    sys.exit(alone("refusals", measure))
