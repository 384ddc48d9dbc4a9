"""The cost of the answering threads' turns: CPU of a request, and the latency of its GIF.

    python -m benches.scheduling [--quick]

Each row of `WAYS` is a gateway, or a server that only answers (`benches.peers.inline`), whose worker is scheduled in one way. Each
column of `LOADS` is one load. All take turns, in processes that are started anew each round.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benches import fixtures
from benches.latency import percentile
from benches.results import Goal, Part, Table, alone, goal
from benches.servers import Server
from tests.kafka import topics
from tests.support.servers import kafka_settings

GATEWAY: Final = "benches.peers.scheduled:gateway"
FLOOR: Final = "benches.peers.scheduled:floor"
MT: Final = {"GRANIAN_RUNTIME_MODE": "mt"}
MANY: Final = {"GRANIAN_BACKPRESSURE": "16384"}
SECONDS: Final = 4
"""How long a load at a given rate lasts."""

SHORT: Final = "short slice"
USUAL: Final = "usual slice"
KAFKA: Final = ", Kafka"


@dataclass(frozen=True)
class Way:
    """One way to schedule a worker."""

    name: str
    turns: str
    app: str = GATEWAY
    settings: Mapping[str, str] = field(default_factory=dict)
    ships: bool = False


WAYS: Final = (
    Way(USUAL, "usual"),
    Way(SHORT, "short"),
    Way("SCHED_BATCH", "batch"),
    Way("mt", "usual", settings=MT),
    Way(f"mt, {SHORT}", "short", settings=MT),
    Way(USUAL + KAFKA, "usual", ships=True),
    Way(SHORT + KAFKA, "short", ships=True),
    Way(f"mt, {SHORT}{KAFKA}", "short", settings=MT, ships=True),
    Way(f"inline, {USUAL}", "usual", FLOOR),
    Way(f"inline, {SHORT}", "short", FLOOR),
    Way(f"inline, mt, {SHORT}", "short", FLOOR, MT),
)


@dataclass(frozen=True)
class Load:
    """How many connections ask, at which rate (0: as fast as they are answered), and beside what."""

    connections: int
    rate: int = 0
    beside: bool = False

    @property
    def name(self) -> str:
        """What the tables call it."""
        rate = f", {self.rate:,}/s" if self.rate else ""
        return f"{self.connections:,} connections{rate}{', a busy neighbour' if self.beside else ''}"


LOADS: Final = (
    Load(10),
    Load(64),
    Load(1_000),
    Load(10_000),
    Load(64, 1_000),
    Load(64, 8_000),
    Load(64, 20_000),
    Load(64, 8_000, beside=True),
)


@contextmanager
def neighbour(core: int | None, wanted: bool) -> Iterator[None]:
    """Something that computes on the server's core meanwhile, if it is wanted."""
    if not wanted:
        yield
        return
    with fixtures.pinned(core):
        spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


def one(server: Server, load: Load, cores: fixtures.Cores, quick: bool) -> dict[str, float]:
    """One load against one server."""
    if load.rate:
        count, more = load.rate * (1 if quick else SECONDS), ["--rate", str(load.rate)]
    else:
        count, more = max(5_000 if quick else 50_000, load.connections * 3), ["--timed"]
    with neighbour(cores.server, load.beside):
        found = fixtures.drive(server, count, load.connections, cores.driver, *more)
    times = found["latency"]
    return {
        "CPU us/request": found["cpu_us"],
        "p50 ms": percentile(times, 50) * 1e3,
        "p99 ms": percentile(times, 99) * 1e3,
    }


def measure(directory: Path, quick: bool) -> Part:
    """All ways under all loads; those that ship only where there is a Kafka."""
    cores = fixtures.cores()
    if cores == fixtures.Cores():
        raise fixtures.LeftOutError("a server and a driver on one core delay each other")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    part: Part = {"figures": {}, "goals": [], "left_out": {}}
    ways: tuple[Way, ...] = WAYS
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with ExitStack() as running:
        bootstrap = ""
        if reason := fixtures.no_kafka():
            part["left_out"]["scheduling with Kafka"] = reason
            ways = tuple(way for way in ways if not way.ships)
        else:
            bootstrap = running.enter_context(fixtures.broker(directory, cores.broker)).bootstrap
        for number in range(1 if quick else 5):
            for way in ways[number:] + ways[:number]:
                name = uuid.uuid4().hex
                settings = {"PIXELCORE_DATA_DIR": str(directory / name), "TURNS": way.turns, **MANY, **way.settings}
                if way.ships:
                    topics.create(bootstrap, name, partitions=4)
                    settings |= kafka_settings(bootstrap, name)
                with Server(name, way.app, directory / f"{name}.log", settings, core=cores.server) as server:
                    server.first_answer()
                    fixtures.drive(server, 10_000, 64, cores.driver)
                    for load in LOADS:
                        found.setdefault((load.name, way.name), []).append(one(server, load, cores, quick))
    for (load_name, way_name), rows in found.items():
        table: Table = part["figures"].setdefault(load_name, {})
        table[way_name] = {column: statistics.median(row[column] for row in rows) for column in rows[0]}
    part["goals"] = _goals(part["figures"])
    return part


def _goals(figures: Mapping[str, Table]) -> list[Goal]:
    few, full = figures[LOADS[0].name], figures[LOADS[1].name]
    cpu = "CPU us/request"
    return [
        goal("CPU with 10 connections, to the usual slice", few[SHORT][cpu] / few[USUAL][cpu], "<=", 0.75),
        goal("CPU with 64 connections, to inline", full[SHORT][cpu] / full[f"inline, {SHORT}"][cpu], "<=", 1.15),
    ]


if __name__ == "__main__":
    sys.exit(alone("scheduling", measure))
