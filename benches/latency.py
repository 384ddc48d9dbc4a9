"""The latency of a GIF under load, and of an event to its topic.

    python -m benches.latency [--quick]

Requests leave on a schedule, and a stall of the server counts for all requests that fell into it (no coordinated omission).

Servers take turns of half a second, all at the same rate: 70 % of what the core of the shipping gateway managed just before, with 64
connections that each wait for their answer. The gateway that only journals shows the share of shipping in the latency.

The broker has a core of its own on a machine with three. Otherwise it shares the driver's, which may always interrupt it. Even so it
makes the driver late, and requests then come in bursts. So bare Granian is also measured while another process keeps the broker as
busy. All servers start anew five times, since one process is lucky and the next is not: the p99 of bare Granian alone was 1.4 ms in
one and 7 ms in another.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import uuid
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from pathlib import Path
from typing import Final

from benches import fixtures
from benches.driver import Connections, drive_at
from benches.fixtures import BARE, Cores
from benches.results import Part, Table, alone, goal
from benches.servers import ROOT, Server
from benches.shipping import Shipping, shipping
from benches.witness import Witness
from tests.kafka import topics
from tests.support.servers import kafka_settings

SHARE: Final = 0.7
CONNECTIONS: Final = 128
"""More than are mostly under way, so that a request waits for the server and not for a connection."""
TURN_SECONDS: Final = 0.5
REST_SECONDS: Final = 0.2
"""Until what was answered is shipped, too."""

GIF_TITLE: Final = "GIF at 70 % of the maximum rate"
JOURNAL: Final = "pixelcore, journal only"
EXACTLY_ONCE: Final = "pixelcore, exactly-once"
BESIDE: Final = "bare, the broker as busy"
CALM: Final = 100
"""Requests a second while the time to the topic is taken; those of the first second don't count."""


def percentile(values: list[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def highest_rate(server: Server, core: int | None, count: int) -> float:
    """Requests a second that its core can answer and ship for ever: as many as it has time for, with 64 connections.

    What was answered meanwhile would be more, since answers go before shipping.
    """
    return 1e6 / float(fixtures.drive(server, count, 64, core)["cpu_us"])


def turn(
    server: Server, pool: Connections, rate: float, beside: AbstractContextManager[None]
) -> tuple[float, float, dict[str, float]]:
    """When a server's turn began and ended, and what it found."""
    used, began = server.cpu(), time.monotonic()
    with beside:
        load = drive_at(pool, int(rate * TURN_SECONDS), rate, stamped=False)
    ended = time.monotonic()
    time.sleep(REST_SECONDS)
    server.answered += load.answered
    row = {f"p{percent} ms": percentile(load.latency, percent) * 1e3 for percent in (50, 90, 99)}
    # Where these are near p99 or 1, the figures are the driver's, or its connections were too few.
    row["sent late (p99), ms"] = percentile(load.lag, 99) * 1e3
    row["driver busy"] = load.cpu / load.seconds
    row["server busy"] = (server.cpu() - used) / load.seconds
    row["requests/s"] = load.answered / load.seconds
    return began, ended, row


def gif(servers: list[Server], ships: Shipping, cores: Cores, quick: bool) -> Table:
    """Percentiles of each server's answers: medians over lives of the servers of each life's medians."""
    lives, rounds, warming = (1, 3, 5_000) if quick else (5, 8, 20_000)
    enough = 0 if quick else rounds / 4
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(lives):
        with ExitStack() as running:
            for server in servers:
                running.enter_context(server)
                server.first_answer()
                highest_rate(server, cores.driver, warming)
            life = one_life(servers, ships, cores, rounds)
        if all(row["steady turns"] >= enough for row in life.values()):
            for name, row in life.items():
                found.setdefault(name, []).append(row)
    if len(found.get(BARE, [])) <= lives / 2:
        raise fixtures.LeftOutError("the machine stood still most of the time")
    return {
        name: {column: statistics.median(row[column] for row in rows) for column in rows[0]}
        for name, rows in found.items()
    }


def one_life(servers: list[Server], ships: Shipping, cores: Cores, rounds: int) -> Table:
    """Medians of those turns in which the machine did not stand still, or of all where there is none."""
    entries = [(server.name, server, False) for server in servers] + [(BESIDE, servers[0], True)]
    found: dict[str, list[tuple[float, float, dict[str, float]]]] = {name: [] for name, _, _ in entries}
    rates: list[float] = []
    with Witness(cores.server, cores.driver) as witness, fixtures.pinned(cores.driver), ExitStack() as connected:
        pools = {
            server.name: connected.enter_context(closing(Connections(server.port, CONNECTIONS))) for server in servers
        }
        for number in range(rounds):
            # The machine's speed changes within seconds.
            rates = [*rates[-2:], highest_rate(servers[-1], cores.driver, 20_000)]
            rate = SHARE * statistics.median(rates)
            first = number % len(entries)
            for name, server, is_beside in entries[first:] + entries[:first]:
                beside = ships.at(rate) if is_beside else nullcontext()
                found[name].append(turn(server, pools[server.name], rate, beside))
    table: Table = {}
    for name, turns in found.items():
        steady = [row for began, ended, row in turns if not witness.stood_still(began, ended)]
        rows = steady or [row for _, _, row in turns]
        table[name] = {column: statistics.median(row[column] for row in rows) for column in rows[0]} | {
            "steady turns": len(steady)
        }
    return table


def to_topic(server: Server, bootstrap: str, topic: str, core: int | None, count: int, rate: int) -> list[float]:
    """Milliseconds from when a request was due to its event's arrival at a read_committed consumer, without the first second."""
    command = [sys.executable, "-m", "benches.arrivals", "--bootstrap", bootstrap, "--topic", topic]
    with fixtures.pinned(core):
        consumer = subprocess.Popen([*command, "--count", str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert consumer.stdout is not None
        consumer.stdout.readline()
        fixtures.drive(server, count, CONNECTIONS, core, "--rate", str(rate), "--stamped")
        output, _ = consumer.communicate(timeout=60)
    finally:
        consumer.kill()
        consumer.wait()
    if consumer.returncode != 0:
        raise RuntimeError("the consumer failed: see its output above")
    return [seconds * 1e3 for seconds in json.loads(output)[rate:]]


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
        ships = running.enter_context(shipping(bootstrap, topic, cores.broker))
        answers = gif([bare, journal, ours], ships, cores, quick)
        running.enter_context(ours)
        ours.first_answer()
        delays = to_topic(ours, bootstrap, topic, cores.driver, CALM * (5 if quick else 60), CALM)
    median, late = percentile(delays, 50), percentile(delays, 99)
    return {
        "figures": {
            GIF_TITLE: answers,
            f"Event to topic, at {CALM} requests/s": {EXACTLY_ONCE: {"p50 ms": median, "p99 ms": late}},
        },
        "goals": [
            *(
                goal(f"p99 of the GIF, to {like}", answers[EXACTLY_ONCE]["p99 ms"] / answers[like]["p99 ms"], "<=", 1.3)
                for like in (BARE, BESIDE)
            ),
            goal("event to topic, median ms", median, "<", 25),
            goal("event to topic, p99 ms", late, "<", 150),
        ],
    }


if __name__ == "__main__":
    sys.exit(alone("latency", measure))
