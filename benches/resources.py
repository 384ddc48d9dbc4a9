"""The resources of a gateway: memory, also while a backlog grows, time to start, and CPU while idle.

python -m benches.resources [--quick]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import psutil

from benches import fixtures
from benches.driver import target
from benches.fixtures import APP
from benches.growth import key_file
from benches.peers.bare import GIF
from benches.results import Goal, Part, Table, alone, goal
from benches.servers import FLAGS, Server, free_port
from tests.kafka.broker import Broker
from tests.support.servers import clean_environment, kafka_settings
from tests.support.waiting import wait_for

START_SECONDS: Final = 30.0
CHANGES: Final = 5
"""Of a key file."""
COMMANDS: Final[dict[str, list[str]]] = {
    "pixelcore serve": ["pixelcore", "serve", "--bind", "127.0.0.1:{port}"],
    "granian pixelcore.app:app": ["granian", *FLAGS, "--port", "{port}", APP],
}


def resident(server: Server) -> float:
    """Megabytes (10^6) of the worker, which is the largest process below the server's own."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return max(child.memory_info().rss for child in children) / 1e6


def memory(server: Server, broker: Broker, cores: fixtures.Cores, quick: bool) -> tuple[Table, list[Goal]]:
    """Under load, with a backlog that the broker's end leaves, and when that is shipped."""
    requests = 10_000 if quick else 200_000
    found: Table = {}

    def note(when: str, backlog: int) -> float:
        server.settled_cpu(timeout=300)
        found[when] = {"RSS MB": resident(server), "backlog, events": backlog}
        return resident(server)

    fixtures.drive(server, requests, core=cores.driver)
    before = note("after load", 0)
    broker.kill()
    highest = 0.0
    for round_ in (1, 2, 3):
        fixtures.drive(server, requests, core=cores.driver)
        highest = max(highest, note(f"broker down, round {round_}", round_ * requests))
    with fixtures.pinned(cores.broker):
        broker.start()
    time.sleep(3.0)  # longer than the forwarder waits before it tries again
    shipped = note("broker back, all shipped", 0)
    return found, [
        goal("RSS of a worker after load, MB", before, "<=", 60),
        goal("RSS with a backlog, to that without", highest / before, "<=", 1.1),
        goal("RSS after shipping a backlog, to that before", shipped / before, "<=", 1.1),
    ]


def start_seconds(command: list[str], settings: Mapping[str, str], directory: Path) -> float:
    """From the start of the process to its first GIF."""
    port = free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", *(word.format(port=port) for word in command)],
        cwd=directory,
        env=clean_environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            connection = HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
            try:
                connection.request("GET", target(0))
                answer = connection.getresponse().read()
                seconds = time.monotonic() - began
                break
            except OSError:
                if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                    raise RuntimeError(f"{' '.join(command)} did not answer") from None
                time.sleep(0.002)
            finally:
                connection.close()
        if answer != GIF:
            raise RuntimeError(f"{' '.join(command)} answered no GIF")
        return seconds
    finally:
        process.terminate()
        process.wait(30)


def starts(settings: Mapping[str, str], directory: Path, quick: bool) -> Table:
    """The median start of each command that README names."""
    rounds = 1 if quick else 5
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds):
        for name, command in COMMANDS.items():
            data = {"PIXELCORE_DATA_DIR": str(directory / f"start-{name.split()[0]}-{turn}")}
            found[name].append(start_seconds(command, {**settings, **data}, directory))
    return {name: {"s": statistics.median(taken), "slowest s": max(taken)} for name, taken in found.items()}


def idle(server: Server, quick: bool) -> float:
    """Percent of a core that a gateway takes that has nothing to do, after its first event."""
    seconds = 5.0 if quick else 60.0
    before, began = server.settled_cpu(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu() - before) / (time.monotonic() - began) * 100


def keys(directory: Path, core: int | None, quick: bool) -> tuple[Table, list[Goal]]:
    """Megabytes of a worker with a key file, at its start and after each change of the file, with Kafka's settings but no broker."""
    many = 1_000 if quick else 100_000
    found: Table = {}
    for count in (1, many):
        name = f"keys-{count}"
        settings = {**key_file(count)(directory / name, quick), **kafka_settings("127.0.0.1:1", name)}
        server = fixtures.gateway(directory, name, core, settings)
        file = Path(settings["PIXELCORE_KEYS_FILE"])
        with server:
            server.first_answer()
            server.settled_cpu()
            taken = [resident(server)]
            for number in range(CHANGES):
                file.write_text(f"{file.read_text()}# {number}\n")
                wait_for(lambda: server.log.read_text().count("keys from") == number + 2, 60)  # noqa: B023
                server.settled_cpu()
                taken.append(resident(server))
        found[f"{count:,} keys"] = {"RSS MB": taken[0], f"after {CHANGES} changes, highest MB": max(taken[1:])}
    few, more = found.values()
    return found, [goal(f"RSS of {many:,} keys, {what}, to one", more[what] - few[what], "<=", 100) for what in few]


def measure(directory: Path, quick: bool) -> Part:
    """All of it, with Kafka. Raises `LeftOutError` where there is none."""
    cores = fixtures.cores()
    of_keys, key_goals = keys(directory, cores.server, quick)
    with fixtures.broker(directory, cores.broker) as broker:
        settings = kafka_settings(broker.bootstrap, f"bench-{uuid.uuid4().hex[:12]}")
        with fixtures.pinned(cores.server):
            began = starts(settings, directory, quick)
        with fixtures.gateway(directory, "gateway", cores.server, settings) as server:
            server.first_answer()
            percent = idle(server, quick)
            resting, goals = memory(server, broker, cores, quick)
    slowest = max(row["s"] for row in began.values())
    return {
        "figures": {
            "Memory of a worker": resting,
            "Memory of a worker, by keys": of_keys,
            "Start to first answer": began,
            "Idle, with Kafka": {"gateway": {"% of a core": percent}},
        },
        "goals": [
            *goals,
            *key_goals,
            goal("start to first answer, s", slowest, "<", 0.7),
            goal("CPU while idle, % of a core", percent, "<", 0.5),
        ],
    }


if __name__ == "__main__":
    sys.exit(alone("resources", measure))
