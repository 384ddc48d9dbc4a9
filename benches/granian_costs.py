"""The figures of the issues for Granian in ``benches/upstream``: what headers cost, and how often its threads are woken.

python -m benches.granian_costs [--quick]
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from benches import fixtures
from benches.results import Part, Table, alone
from benches.servers import Server

APPS: Final = ("nothing_read", "read_once", "read_four_times", "none_sent")
CONNECTIONS: Final = (10, 64)
CALLS: Final = ("write", "writev", "epoll_wait")


def costs(directory: Path, core: fixtures.Cores, quick: bool) -> Table:
    """CPU of a request by what is done with headers, the medians of rounds that take turns."""
    found: dict[str, list[float]] = {name: [] for name in APPS}
    for number in range(1 if quick else 7):
        for name in APPS[number % len(APPS) :] + APPS[: number % len(APPS)]:
            with _server(directory, name, core) as server:
                server.first_answer()
                fixtures.drive(server, 5_000, 64, core.driver)
                found[name].append(fixtures.drive(server, 5_000 if quick else 60_000, 64, core.driver)["cpu_us"])
    floor = statistics.median(found["nothing_read"])
    return {
        name: {"CPU us/request": statistics.median(taken), "more us": statistics.median(taken) - floor}
        for name, taken in found.items()
    }


def wakes(directory: Path, core: fixtures.Cores, quick: bool) -> Table:
    """Calls of the kernel a request, as strace counts them; the table is empty where there is none."""
    requests = 2_000 if quick else 20_000
    table: Table = {}
    for connections in CONNECTIONS if shutil.which("strace") else ():
        with _server(directory, APPS[0], core) as server:
            server.first_answer()
            (worker,) = psutil.Process(server.process.pid).children()[-1:]
            summary = directory / "strace"
            command = [
                "strace",
                "-f",
                "-c",
                "-qq",
                "-o",
                str(summary),
                "-e",
                f"trace={','.join(CALLS)}",
                "-p",
                str(worker.pid),
            ]
            tracing = subprocess.Popen(command)
            try:
                fixtures.drive(server, requests, connections, core.driver)
            finally:
                tracing.send_signal(2)
                tracing.wait()
            counted = _counted(summary.read_text())
            table[f"{connections} connections"] = {call: counted.get(call, 0) / requests for call in CALLS}
    return table


def _counted(summary: str) -> Mapping[str, int]:
    """The calls column of ``strace -c``."""
    rows = re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", summary, re.MULTILINE)
    return {name: int(calls) for calls, name in (row.groups() for row in rows)}


def _server(directory: Path, name: str, core: fixtures.Cores) -> Server:
    return Server(name, f"benches.peers.header_costs:{name}", directory / f"{name}.log", core=core.server)


def measure(directory: Path, quick: bool) -> Part:
    """All of it."""
    cores = fixtures.cores()
    figures = {"Headers in Granian": costs(directory, cores, quick)}
    if counted := wakes(directory, cores, quick):
        figures["Calls of the kernel a request"] = counted
    return {"figures": figures, "goals": []}


if __name__ == "__main__":
    sys.exit(alone("granian_costs", measure))
