"""The cost of more workers, journals, keys and connections, and the rate at which a backlog is shipped.

    python -m benches.growth [--quick]

A variation is a row of `VARIATIONS`. Each has a server of its own; rounds are interleaved.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pixelcore

from benches import fixtures
from benches.driver import CHROME, target
from benches.queries import KEY
from benches.results import Goal, Part, Table, alone, goal
from benches.servers import Server
from tests.kafka import topics
from tests.support import servers

COST_TITLE: Final = "CPU of a request"
ORDINARY: Final = "64 connections"
ONE_KEY: Final = "one key, trusted proxies"
SEGMENT: Final = 1 << 20
OURS: Final = "pixelcore"
FLAT: Final = 1.1
"""What still counts as flat; two rounds of the same differ by some percent."""

SPIN: Final = "import time; t = time.perf_counter(); sum(range(40_000_000)); print(time.perf_counter() - t)"


def fill(data: Path, events: int) -> None:
    """A finished journal of so many events, each of its own person and with its own ``mid``, in segments of 1 MiB."""
    query = target(0).partition("?")[2]
    with pixelcore.Journal(data / "events", segment_bytes=SEGMENT) as journal:
        for number in range(events):
            text = query.replace("user_00000", f"user_{number % 100_000:05}")
            journal.append(pixelcore.event("track", text, ip="203.0.113.7", user_agent=CHROME))


def gigabyte(data: Path, quick: bool) -> None:
    """A thousand segments; twenty when it has to be quick."""
    query = target(0).partition("?")[2]
    size = len(pixelcore.event("track", query, ip="203.0.113.7", user_agent=CHROME)) + 1
    fill(data, (20 if quick else 1000) * SEGMENT // size)


def key_file(keys: int) -> Callable[[Path, bool], Mapping[str, str]]:
    """A key file of so many pipelines, the driver's among them, without a limit that it could reach."""

    def prepare(data: Path, _quick: bool) -> Mapping[str, str]:
        data.mkdir(parents=True, exist_ok=True)
        file = data / "keys.toml"
        names = [KEY.removeprefix("wk="), *(f"dk_live_{number:08}" for number in range(keys - 1))]
        row = (
            '[[pipeline]]\nid = "pip_{0}"\nkey = "{1}"\nrate_limit_rps = 1000000\ndomain_allowlist = ["shop.example"]\n'
        )
        file.write_text("".join(row.format(number, name) for number, name in enumerate(names)))
        return {"PIXELCORE_KEYS_FILE": str(file), "PIXELCORE_TRUSTED_PROXIES": "loopback"}

    return prepare


@dataclass(frozen=True)
class Variation:
    """A server and its load; ``prepare`` gets its data directory before it starts, and whether to be quick, and may
    have settings of its own.

    Of its connections ``in_flight`` wait for an answer at a time, all of them in turn. It is held to ``like``, which differs in
    one thing only. ``bare`` is a server that does nothing else, to see what of a growth is Granian's.
    """

    name: str
    connections: int = 64
    in_flight: int = 64
    settings: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path, bool], Mapping[str, str] | None] | None = None
    bare: bool = False
    like: str = ORDINARY

    def server(self, directory: Path, core: int | None, quick: bool) -> Server:
        """The server, not yet started."""
        name = self.name.replace(" ", "-")
        if self.bare:
            return Server(self.name, fixtures.PEER, directory / f"{name}.log", self.settings, None, core)
        more = self.prepare(directory / name, quick) if self.prepare is not None else None
        return fixtures.gateway(directory, name, core, {**self.settings, **(more or {})})


# Granian closes the connections beyond its backpressure, which is 1,024 by default.
MANY: Final = {"GRANIAN_BACKPRESSURE": "16384"}

TEN: Final = "10 connections, 10 in flight"

VARIATIONS: Final = (
    Variation(ORDINARY, like=""),
    Variation("1 GB of journals", prepare=gigabyte),
    Variation(ONE_KEY, prepare=key_file(1), like=""),
    Variation("100,000 keys, trusted proxies", prepare=key_file(100_000), like=ONE_KEY),
    Variation(TEN, 10, 10),
    Variation("10,000 connections, 10 in flight", 10_000, 10, MANY, like=TEN),
    Variation("1,000 connections, 64 in flight", 1_000),
    Variation("10,000 connections, 64 in flight", 10_000, 64, MANY),
    Variation("256 connections, all in flight", 256, 256),
    Variation("1,000 connections, all in flight", 1_000, 1_000),
    Variation("10,000 connections, all in flight", 10_000, 10_000, MANY),
    Variation(f"bare, {ORDINARY}", bare=True, like=""),
    Variation(f"bare, {TEN}", 10, 10, bare=True, like=""),
    Variation("bare, 10,000 connections, 64 in flight", 10_000, 64, MANY, bare=True, like=""),
    Variation("bare, 256 connections, all in flight", 256, 256, bare=True, like=""),
    Variation("bare, 10,000 connections, all in flight", 10_000, 10_000, MANY, bare=True, like=""),
)


def cost(directory: Path, quick: bool) -> tuple[Table, list[Goal]]:
    """CPU per request of each variation, the median of its rounds, against the ordinary one's."""
    # A connection is a file here and one in the server, which inherits the limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cores = fixtures.cores()
    rounds, requests = (1, 10_000) if quick else (5, 50_000)
    found: dict[str, list[float]] = {variation.name: [] for variation in VARIATIONS}
    pairs = [(variation, variation.server(directory, cores.server, quick)) for variation in VARIATIONS]
    for turn in range(rounds):
        first = turn % len(pairs)
        for variation, server in pairs[first:] + pairs[:first]:
            # Each in a process of its own each time, since where its memory lies makes some percent.
            with server:
                server.first_answer()
                # A connection's first request costs more than those that follow.
                count = max(requests, variation.connections * (2 if quick else 10))
                load = (variation.connections, cores.driver, "--in-flight", str(variation.in_flight))
                fixtures.drive(server, requests // 5, *load)
                found[variation.name].append(fixtures.drive(server, count, *load)["cpu_us"])
    medians = {name: statistics.median(taken) for name, taken in found.items()}
    table: Table = {}
    for variation in VARIATIONS:
        ordinary = medians[f"bare, {ORDINARY}" if variation.bare else ORDINARY]
        taken = medians[variation.name]
        table[variation.name] = {"CPU us/request": taken, f"to {ORDINARY}": taken / ordinary}
    goals = [
        goal(
            f"CPU per request: {variation.name}, to {variation.like}",
            medians[variation.name] / medians[variation.like],
            "<=",
            FLAT,
        )
        for variation in VARIATIONS
        if variation.like
    ]
    return table, goals


def spin(*cores: int) -> float:
    """Seconds that the slowest of some processes takes, one on each core, that only compute."""
    spinning = []
    for core in cores:
        with fixtures.pinned(core):
            spinning.append(subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True))
    return max(float(process.communicate()[0]) for process in spinning)


def load_rate(server: Server, drivers: list[list[int]], requests: int) -> float:
    """Requests a second over all drivers, each of which stays on its cores."""
    with ExitStack() as running:
        started = []
        for allowed in drivers:
            with fixtures.pinned(*allowed):
                started.append(running.enter_context(fixtures.Driver(server.port, requests)))
        for driver in started:
            driver.go()
        loads = [driver.load() for driver in started]
    return float(sum(load["answered"] for load in loads) / max(load["seconds"] for load in loads))


def workers(directory: Path, quick: bool) -> tuple[dict[str, Table], list[Goal]]:
    """The rate of two workers on two cores against one on one, bare Granian's too. Raises `LeftOutError` with one core.

    With four cores the drivers have two of their own. With fewer each worker's driver runs on its worker's cores, and
    one core with both is compared with two: what is shared, and would hold two workers back, is in that ratio as well.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise fixtures.LeftOutError("needs two cores")
    one, two = [usable[0]], usable[:2]
    apart = len(usable) >= 4
    plans = {
        "1 worker on 1 core": (1, one, [usable[2:3]] if apart else [one]),
        "2 workers on 2 cores": (2, two, [usable[2:3], usable[3:4]] if apart else [two, two]),
    }
    rounds, requests = (1, 10_000) if quick else (5, 50_000)
    found: dict[str, dict[str, list[float]]] = {
        fixtures.BARE: {name: [] for name in plans},
        OURS: {name: [] for name in plans},
    }
    machine = []
    for _ in range(rounds):
        for name, (count, cores, drivers) in plans.items():
            label = uuid.uuid4().hex
            both = {
                fixtures.BARE: fixtures.bare(directory, None, label),
                OURS: fixtures.gateway(directory, f"{label}-ours", None),
            }
            for who, server in both.items():
                server.workers = count
                with fixtures.pinned(*cores), server:
                    server.first_answer()
                    load_rate(server, drivers, requests // 5)
                    found[who][name].append(load_rate(server, drivers, requests))
        machine.append(2 * spin(*one) / spin(*two))
    table: Table = {}
    for who, plan in found.items():
        first, second = (statistics.median(rates) for rates in plan.values())
        table[who] = dict(zip((f"{name}, requests/s" for name in plan), (first, second), strict=True))
        table[who]["2 to 1"] = second / first
    # Two virtual cores may be one real one, and a neighbour may have the other.
    table["a pure computation"] = {"2 to 1": statistics.median(machine)}
    title = "Workers, the drivers on cores of their own" if apart else "Workers, the drivers on the workers' cores"
    ours, bare = (table[who]["2 to 1"] for who in (OURS, fixtures.BARE))
    return {title: table}, [
        goal("rate of 2 workers on 2 cores, to 1 on 1", ours, ">=", 1.9),
        goal("rate of 2 workers on 2 cores, to 1 on 1, to bare's", ours / bare, ">=", 0.95),
    ]


def forward(data: Path, settings: Mapping[str, str], core: int | None) -> float:
    """Seconds that ``pixelcore forward`` takes to ship a data directory."""
    began = time.monotonic()
    with fixtures.pinned(core):
        process = servers.forward(data, settings)
    output, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"pixelcore forward ended with {process.returncode}:\n{output}")
    return time.monotonic() - began


def drain(directory: Path, quick: bool) -> tuple[Table, list[Goal]]:
    """Events a second that one forwarder on one core ships, its start and end (those of a single event) apart."""
    cores = fixtures.cores()
    events = 100_000 if quick else 1_000_000
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    with fixtures.broker(directory, cores.broker) as broker:
        settings = servers.kafka_settings(broker.bootstrap, topic)
        topics.create(broker.bootstrap, topic, partitions=4)
        single = []
        for number in range(2 if quick else 6):
            fill(directory / f"single-{number}", 1)
            single.append(forward(directory / f"single-{number}", settings, cores.server))
        start = statistics.median(single[1:])  # the first one makes the checkpoint topic
        backlogs = []
        for number in range(1 if quick else 3):
            fill(directory / f"backlog-{number}", events)
            backlogs.append(forward(directory / f"backlog-{number}", settings, cores.server) - start)
        rate = events / statistics.median(backlogs)
        shipped = 0
        with topics.Reader(broker.bootstrap, topic) as reader:
            while not reader.at_end():
                reader.poll()
                shipped += len(reader.messages)
                reader.messages.clear()
    if shipped != (journaled := events * len(backlogs) + len(single)):
        raise AssertionError(f"{journaled} events were journaled and {shipped} shipped")
    table: Table = {"pixelcore forward": {"events": events, "events/s": rate, "start and end s": start}}
    return table, [goal("drain of a backlog, events/s", rate, ">=", 100_000)]


def measure(directory: Path, quick: bool) -> Part:
    """All of it; what this machine cannot measure is left out by name."""
    part: Part = {"figures": {}, "goals": [], "left_out": {}}
    try:
        tables, goals = workers(directory, quick)
        part["figures"] |= tables
        part["goals"] += goals
    except fixtures.LeftOutError as error:
        part["left_out"]["rate of 2 workers"] = str(error)
    part["figures"][COST_TITLE], goals = cost(directory, quick)
    part["goals"] += goals
    try:
        part["figures"]["Backlog"], goals = drain(directory, quick)
        part["goals"] += goals
    except fixtures.LeftOutError as error:
        part["left_out"]["drain of a backlog"] = str(error)
    return part


if __name__ == "__main__":
    sys.exit(alone("growth", measure))
