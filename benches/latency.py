"""How long a GIF takes under load, and an event to its topic.

    python -m benches.latency [--quick]

Requests leave on a schedule and their time runs from when they were due, so a stall counts for all that fell into it
(no coordinated omission). All servers get the same rate, 70 % of what the gateway that ships reaches with 64 connections
that each wait for their answer; the one that only journals shows what of the latency is shipping's. The broker has a core of its own where there are three, else it shares the driver's, which
may then always interrupt it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benches import fixtures
from benches.fixtures import BARE, Cores
from benches.results import Part, Table, alone, goal
from benches.servers import ROOT, Server
from tests.kafka import topics
from tests.servers import kafka_settings

SHARE: Final = 0.7
CONNECTIONS: Final = 256
"""More than are ever under way, so that a request waits for the server and not for a connection."""

GIF_TITLE: Final = "GIF at 70 % of the maximum rate"
JOURNAL: Final = "pixelcore, journal only"
EXACTLY_ONCE: Final = "pixelcore, exactly-once"
CALM: Final = 100
"""Requests a second while the time to the topic is taken; those of the first second don't count."""


def percentile(values: list[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def highest_rate(server: Server, core: int | None, quick: bool) -> float:
    """Requests a second with 64 connections, the median of five rounds; they also warm the server up."""
    rounds, requests = (1, 5_000) if quick else (5, 50_000)
    return float(statistics.median(fixtures.drive(server, requests, 64, core)["rate"] for _ in range(rounds)))


def gif(servers: list[Server], rate: float, core: int | None, quick: bool) -> Table:
    """Percentiles of each server's answers, medians of interleaved rounds."""
    rounds, seconds = (1, 2) if quick else (5, 10)
    found: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for turn in range(rounds):
        first = turn % len(servers)
        for server in servers[first:] + servers[:first]:
            load = fixtures.drive(server, int(rate * seconds), CONNECTIONS, core, "--rate", str(rate))
            row = {f"p{percent} ms": percentile(load["latency"], percent) * 1e3 for percent in (50, 90, 99)}
            # Where these are near p99 or 1, the figures are the driver's, or its connections were too few.
            row["sent late (p99), ms"] = percentile(load["lag"], 99) * 1e3
            row["driver busy"] = load["cpu"] / load["seconds"]
            row["requests/s"] = load["rate"]
            found[server.name].append(row)
    return {
        name: {column: statistics.median(row[column] for row in rows) for column in rows[0]}
        for name, rows in found.items()
    }


def to_topic(server: Server, bootstrap: str, topic: str, core: int | None, quick: bool) -> list[float]:
    """Milliseconds from when a request was due to its event's arrival at a read_committed consumer."""
    count = CALM * (5 if quick else 60)
    command = [sys.executable, "-m", "benches.arrivals", "--bootstrap", bootstrap, "--topic", topic]
    with fixtures.pinned(core):
        consumer = subprocess.Popen([*command, "--count", str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert consumer.stdout is not None
        consumer.stdout.readline()
        fixtures.drive(server, count, CONNECTIONS, core, "--rate", str(CALM), "--stamped")
        output, _ = consumer.communicate(timeout=60)
    finally:
        consumer.kill()
        consumer.wait()
    if consumer.returncode != 0:
        raise RuntimeError("the consumer failed: see its output above")
    return [seconds * 1e3 for seconds in json.loads(output)[CALM:]]


def measure(directory: Path, quick: bool) -> Part:
    """Both. Raises `LeftOutError` with one core, since the driver would delay what it measures."""
    cores = fixtures.cores()
    if cores == Cores():
        raise fixtures.LeftOutError("a server and a driver on one core delay each other")
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    with ExitStack() as running:
        bootstrap = running.enter_context(fixtures.broker(directory, cores.broker)).bootstrap
        topics.create(bootstrap, topic, partitions=4)
        bare = fixtures.bare(directory, cores.server)
        journal = fixtures.gateway(directory, JOURNAL, cores.server)
        ours = fixtures.gateway(directory, EXACTLY_ONCE, cores.server, kafka_settings(bootstrap, topic))
        for server in (bare, journal, ours):
            running.enter_context(server)
            server.first_answer()
            rate = SHARE * highest_rate(server, cores.driver, quick)
        answers = gif([bare, journal, ours], rate, cores.driver, quick)
        delays = to_topic(ours, bootstrap, topic, cores.driver, quick)
    median, late = percentile(delays, 50), percentile(delays, 99)
    return {
        "figures": {
            GIF_TITLE: answers,
            f"Event to topic, at {CALM} requests/s": {EXACTLY_ONCE: {"p50 ms": median, "p99 ms": late}},
        },
        "goals": [
            goal(
                "p99 of the GIF, to bare Granian's",
                answers[EXACTLY_ONCE]["p99 ms"] / answers[BARE]["p99 ms"],
                "<=",
                1.3,
            ),
            goal("event to topic, median ms", median, "<", 25),
            goal("event to topic, p99 ms", late, "<", 150),
        ],
    }


if __name__ == "__main__":
    sys.exit(alone("latency", measure))
