"""CPU time of one request on its whole way, HTTP parsing, journal and shipping included, against a bare Granian's.

    python -m benches.whole_way                  bare, nginx, and pixelcore with its journal as the destination
    python -m benches.whole_way --kafka          also the servers that ship, to its own broker (tests/kafka)
    python -m benches.whole_way --bootstrap H:P  the same with a broker that runs already
    python -m benches.whole_way --peers go,axum  not all of benches/peers

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
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from benches import goals
from benches.contenders import Contender, Cores, Figures, contenders, peers_of, taking_part
from benches.goals import BARE
from benches.receipts import check_journal, check_topic
from benches.servers import ROOT, Server

SERVER_CORE: Final = 0
DRIVER_CORE: Final = 1
WARM_UP: Final = 0.2
"""Share of a round that each server answers before the first one that counts."""

UNALIKE: Final = {"server", "connection"}
"""Headers that say which server it is, and what HTTP/1.1 says anyway."""


def cores() -> Cores:
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


@contextmanager
def running(contender: Contender) -> Iterator[None]:
    """A contender that runs, and is ended in order."""
    with contender.server, contender.forwarder or nullcontext():
        yield
        contender.stop()


def make_topics(running_order: Sequence[Contender], bootstrap: str | None) -> None:
    """Make the contenders' topics: a default of some broker's would give them different partitions."""
    if bootstrap:
        from tests.kafka.topics import create

        for contender in running_order:
            if contender.topic:
                create(bootstrap, contender.topic)


def drive(contender: Contender, requests: int, arguments: argparse.Namespace, core: int | None) -> Figures:
    """One round against one server, in a driver of its own."""
    server, forwarder = contender.server, contender.forwarder
    command = [sys.executable, "-m", "benches.driver", "--port", str(server.port), "--gif", server.gif.hex()]
    command += ["--requests", str(requests), "--connections", str(arguments.connections)]
    command += ["--awake"] if arguments.awake else []
    if core is not None:
        command += ["--core", str(core)]
    shipping = forwarder.settled_cpu() if forwarder else 0.0
    before = server.settled_cpu()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the driver failed against {server.name}:\n{server.tail()}")
    load = json.loads(done.stdout)
    answered = load["answered"]
    # First the forwarder: what a server does while it waits for one is the server's, too.
    shipping = forwarder.settled_cpu() - shipping if forwarder else 0.0
    used = server.settled_cpu() - before
    server.answered += answered
    return Figures(
        [used / answered * 1e6],
        [answered / load["seconds"]],
        [load["cpu"] / load["seconds"]],
        [shipping / answered * 1e6] if forwarder else [],
    )


def check_headers(server: Server, expected: dict[str, str]) -> None:
    """Wait for a server and see that it answers what the first one did, but for its name."""
    headers = {name: value for name, value in server.first_answer().items() if name not in UNALIKE}
    expected.update(expected or headers)
    if headers != expected:
        raise RuntimeError(f"{server.name} answers other headers than the first:\n{headers}\n{expected}")


def check(contender: Contender, bootstrap: str | None) -> str | None:
    """Hold a contender to its receipts: what is wrong with a rival's; raises for pixelcore's."""
    try:
        check_journal(contender.server)
        if contender.topic and bootstrap:
            check_topic(contender.server, bootstrap, contender.topic)
    except AssertionError as error:
        if not contender.rival:
            raise
        return str(error)
    return None


def cpu_model() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(arguments: argparse.Namespace, directory: Path) -> dict[str, object]:
    """Run the rounds and return what ``--json`` writes."""
    peers, left_out = taking_part(arguments.peers, bool(arguments.kafka or arguments.bootstrap))
    # Before a broker, whose start leaves this process on one core.
    server_core, driver_core = pinned = cores()
    with broker(arguments, directory, driver_core) as bootstrap:
        running_order = contenders(directory, bootstrap, peers, pinned)
        make_topics(running_order, bootstrap)
        expected: dict[str, str] = {}
        for turn in range(arguments.rounds):
            # Nobody always follows the same one.
            first = turn % len(running_order)
            for contender in running_order[first:] + running_order[:first]:
                # Each in a process of its own each time, since where its memory lies makes some percent.
                with running(contender):
                    check_headers(contender.server, expected)
                    drive(contender, max(1, int(arguments.requests * WARM_UP)), arguments, driver_core)
                    contender.figures += drive(contender, arguments.requests, arguments, driver_core)
            print(f"round {turn + 1} of {arguments.rounds}", file=sys.stderr)
        for contender in running_order:
            if reason := check(contender, bootstrap):
                left_out[contender.server.name] = reason
    figures = {c.server.name: c.figures for c in running_order if c.server.name not in left_out}
    versions = {
        name: importlib.metadata.version(name) for name in ("pixelcore-gateway", "granian", "uvloop", "confluent-kafka")
    }
    for peer in peers:
        versions |= peer.versions()
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "pinned": server_core is not None,
        "versions": {"python": platform.python_version(), **versions},
        "requests": arguments.requests,
        "rounds": arguments.rounds,
        "connections": arguments.connections,
        "servers": {name: vars(found) for name, found in figures.items()},
        "left_out": left_out,
        "goals": goals.standings({name: found.cpu for name, found in figures.items()}),
    }


def report(result: dict[str, object]) -> str:
    """Medians and ratios, for people."""
    versions, servers = result["versions"], result["servers"]
    assert isinstance(versions, dict)
    left_out, standings = result["left_out"], result["goals"]
    assert isinstance(servers, dict)
    assert isinstance(left_out, dict)
    assert isinstance(standings, list)
    lines = [
        f"{result['date']}, {result['cpu']}, {result['cores']} cores{'' if result['pinned'] else ', not pinned'}",
        textwrap.fill(", ".join(f"{package} {version}" for package, version in versions.items()), 120),
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
        if found["forwarder_cpu"]:
            lines.append(f"{'  its forwarder':26}{statistics.median(found['forwarder_cpu']):15.1f}")
    lines += [f"{name} is left out: {reason}" for name, reason in left_out.items()]
    lines += ["", *goals.lines(standings)]
    return "\n".join(lines)


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="CPU time per request of pixelcore against a bare Granian.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=50_000, help="per server and round; CPU ticks are 10 ms")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument(
        "--awake", action="store_true", help="a driver that never sleeps, whose core a broker should not need"
    )
    parser.add_argument(
        "--peers", type=peers_of, default="all", metavar="all|none|NAME,NAME", help="rivals that take part"
    )
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
