"""CPU time of one request on its whole way, HTTP parsing, journal and shipping included, against a bare Granian.

    python -m benches.whole_way                  bare, and pixelcore with its journal as the destination
    python -m benches.whole_way --kafka          also exactly-once to a broker of its own (tests/kafka)
    python -m benches.whole_way --bootstrap H:P  the same with a broker that runs already

CPU time rather than throughput, because it does not depend on how well the driver keeps up and can be compared on a
busy machine. Servers stay on core 0, the driver (and a broker that this starts) on core 1. Rounds are interleaved, so
that a machine that becomes slower becomes slower for all. A contender that lost a single event has no figure.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from benches.servers import ROOT, Server

SERVER_CORE: Final = 0
DRIVER_CORE: Final = 1
WARM_UP: Final = 0.2
"""Share of a round that each server answers before the first one that counts."""

PEER: Final = "benches.peers.bare:app"
APP = "pixelcore.app:app"

BARE: Final = "bare"
JOURNAL: Final = "pixelcore, journal only"
EXACTLY_ONCE: Final = "pixelcore, exactly-once"


@dataclass
class Figures:
    """What the rounds gave for one server: microseconds of CPU a request, and requests a second."""

    cpu: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    driver_busy: list[float] = field(default_factory=list)


def cores() -> tuple[int | None, int | None]:
    """The server's and the driver's core; none where there is no second one."""
    usable = os.sched_getaffinity(0)
    return (SERVER_CORE, DRIVER_CORE) if {SERVER_CORE, DRIVER_CORE} <= usable else (None, None)


@contextmanager
def broker(arguments: argparse.Namespace, directory: Path, core: int | None) -> Iterator[str | None]:
    """The bootstrap address to ship to, if any, with a broker started for it where that was asked for."""
    if not arguments.kafka:
        yield arguments.bootstrap
        return
    from tests.kafka.broker import Broker

    if core is not None:
        # Children inherit it. This process stays there too: it sleeps while a round runs.
        os.sched_setaffinity(0, {core})
    with Broker(directory / "kafka") as started:
        yield started.bootstrap


def contenders(directory: Path, core: int | None, bootstrap: str | None, topic: str) -> list[Server]:
    """The servers, not yet started."""

    def server(name: str, app: str, **settings: str) -> Server:
        data = directory / name.replace(", ", "-").replace(" ", "-") if settings else None
        return Server(name, app, directory / f"{name}.log", settings | {"PIXELCORE_DATA_DIR": str(data)}, data, core)

    # What is shipped is deleted; it has to stay until it is counted.
    found = [server(BARE, PEER), server(JOURNAL, APP, PIXELCORE_JOURNAL_RETAIN="1h")]
    if bootstrap:
        kafka = {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": bootstrap, "PIXELCORE_TOPIC": topic}
        found.append(server(EXACTLY_ONCE, APP, PIXELCORE_JOURNAL_RETAIN="1h", **kafka))
    return found


def drive(server: Server, requests: int, connections: int, core: int | None, figures: Figures | None) -> None:
    """One round against one server, in a driver of its own."""
    command = [sys.executable, "-m", "benches.driver", "--port", str(server.port)]
    command += ["--requests", str(requests), "--connections", str(connections)]
    if core is not None:
        command += ["--core", str(core)]
    before = server.settled_cpu()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the driver failed against {server.name}:\n{server.tail()}")
    load = json.loads(done.stdout)
    used = server.settled_cpu() - before
    server.answered += load["answered"]
    if figures is not None:
        figures.cpu.append(used / load["answered"] * 1e6)
        figures.rate.append(load["answered"] / load["seconds"])
        figures.driver_busy.append(load["cpu"] / load["seconds"])


def journaled(directory: Path) -> tuple[int, int]:
    """Events and rejections in the journals below a data directory."""
    events = rejections = 0
    for segment in directory.rglob("*.ndjson"):
        with segment.open("rb") as lines:
            for line in lines:
                if line.startswith(b'{"reason"'):
                    rejections += 1
                else:
                    events += 1
    return events, rejections


def check(server: Server, bootstrap: str | None, topic: str) -> None:
    """Hold a server to its receipts: every GIF it answered is an event in its journal, and in the topic if it ships."""
    if server.data is None:
        return
    events, rejections = journaled(server.data)
    if (events, rejections) != (server.answered, 0):
        raise AssertionError(
            f"{server.name}: {server.answered} answers, but {events} events and {rejections} rejections in its journal"
        )
    if server.name == EXACTLY_ONCE and bootstrap:
        from tests.kafka.topics import IncompleteError, read_committed

        try:
            shipped = read_committed(bootstrap, topic, timeout=120)
        except IncompleteError as error:
            raise RuntimeError(f"{server.name}: {error}:\n{server.tail()}") from error
        distinct = len({message.mid for message in shipped})
        if (len(shipped), distinct) != (server.answered, server.answered):
            raise AssertionError(
                f"{server.name}: {server.answered} answers, but {len(shipped)} events in its topic, {distinct} distinct"
            )


def cpu_model() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(arguments: argparse.Namespace, directory: Path) -> dict[str, object]:
    """Run the rounds and return what ``--json`` writes."""
    server_core, driver_core = cores()
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    with ExitStack() as running:
        bootstrap = running.enter_context(broker(arguments, directory, driver_core))
        servers = contenders(directory, server_core, bootstrap, topic)
        for server in servers:
            running.enter_context(server)
        expected = servers[0].first_answer()
        for server in servers[1:]:
            if (headers := server.first_answer()) != expected:
                raise RuntimeError(f"{server.name} answers other headers than the peer:\n{headers}\n{expected}")
        figures = {server.name: Figures() for server in servers}
        for server in servers:
            drive(server, max(1, int(arguments.requests * WARM_UP)), arguments.connections, driver_core, None)
        for turn in range(arguments.rounds):
            # Nobody always follows the same one.
            first = turn % len(servers)
            for server in servers[first:] + servers[:first]:
                drive(server, arguments.requests, arguments.connections, driver_core, figures[server.name])
            print(f"round {turn + 1} of {arguments.rounds}", file=sys.stderr)
        for server in servers:
            server.stop()
            check(server, bootstrap, topic)
    packages = ("pixelcore", "granian", "uvloop", "confluent-kafka")
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "pinned": server_core is not None,
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in packages},
        },
        "requests": arguments.requests,
        "rounds": arguments.rounds,
        "connections": arguments.connections,
        "servers": {name: vars(found) for name, found in figures.items()},
    }


def report(result: dict[str, object]) -> str:
    """Medians and ratios, for people."""
    versions, servers = result["versions"], result["servers"]
    assert isinstance(versions, dict)
    assert isinstance(servers, dict)
    lines = [
        f"{result['date']}, {result['cpu']}, {result['cores']} cores{'' if result['pinned'] else ', not pinned'}",
        ", ".join(f"{package} {version}" for package, version in versions.items()),
        f"{result['rounds']} rounds of {result['requests']} requests, {result['connections']} connections",
        "",
        f"{'':26}{'CPU us/request':>15}{'lowest-highest':>18}{'to bare':>9}{'requests/s':>12}{'server, driver':>17}",
    ]
    floor = statistics.median(servers[BARE]["cpu"])
    for name, found in servers.items():
        cpu = statistics.median(found["cpu"])
        extent = f"{min(found['cpu']):.1f}-{max(found['cpu']):.1f}"
        rate, busy = statistics.median(found["rate"]), statistics.median(found["driver_busy"])
        # A server that is not kept busy wakes up for fewer requests at a time, and each then costs more.
        shares = f"{cpu * rate / 1e6:.0%}, {busy:.0%}"
        lines.append(f"{name:26}{cpu:15.1f}{extent:>18}{cpu / floor:8.2f}x{rate:12,.0f}{shares:>17}")
    return "\n".join(lines)


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="CPU time per request of pixelcore against a bare Granian.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=50_000, help="per server and round; CPU ticks are 10 ms")
    parser.add_argument("--connections", type=int, default=64)
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--bootstrap", metavar="HOST:PORT", help="a broker to ship to")
    target.add_argument("--kafka", action="store_true", help="start a broker to ship to")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pixelcore-bench-") as directory:
        result = measure(arguments, Path(directory))
    print(report(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
