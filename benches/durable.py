"""The cost of durable answers: ``PIXELCORE_FSYNC=always`` against the default of ``1s``, and the device alone.

    python -m benches.durable [--quick]

Both servers journal only, with 64 connections that each wait for their answer, on one core. Rounds of
the two alternate. Before each pair the device alone flushes a group of lines, since disks of virtual machines change from
one second to the next.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from benches import fixtures
from benches.fixtures import Cores
from benches.latency import percentile
from benches.results import Part, Table, alone, goal

INTERVAL: Final = "1s"
ALWAYS: Final = "always"
CONNECTIONS: Final = 64
LINE: Final = b"x" * 500


def flush_ms(directory: Path, lines: int, count: int) -> float:
    """The median time that fdatasync takes after so many lines were appended to a file."""
    taken = []
    path = directory / "probe"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for _ in range(count):
            os.write(file, LINE * lines)
            began = time.perf_counter()
            os.fdatasync(file)
            taken.append(time.perf_counter() - began)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(taken) * 1e3


def measure(directory: Path, quick: bool) -> Part:
    """Rates, and times from a request to its answer. Raises `LeftOutError` with one core."""
    cores = fixtures.cores()
    if cores == Cores():
        raise fixtures.LeftOutError("a server and a driver on one core delay each other")
    rounds, requests, flushes = (1, 5_000, 50) if quick else (9, 30_000, 300)
    rows: dict[str, list[dict[str, float]]] = {INTERVAL: [], ALWAYS: []}
    device: list[float] = []
    servers = [fixtures.gateway(directory, mode, cores.server, {"PIXELCORE_FSYNC": mode}) for mode in rows]
    for turn in range(rounds):
        device.append(flush_ms(directory, CONNECTIONS, flushes))
        for server in servers[:: 1 if turn % 2 else -1]:
            # Each in a process of its own each time, since where its memory lies makes some percent.
            with server:
                server.first_answer()
                fixtures.drive(server, requests // 3, CONNECTIONS, cores.driver)
                load = fixtures.drive(server, requests, CONNECTIONS, cores.driver, "--timed")
            row = {"requests/s": load["rate"], "CPU us a request": load["cpu_us"]}
            row |= {f"p{percent} ms": percentile(load["latency"], percent) * 1e3 for percent in (50, 99)}
            rows[server.name].append(row)
    figures: Table = {
        mode: {column: statistics.median(row[column] for row in found) for column in found[0]}
        for mode, found in rows.items()
    }
    rate, late = (
        statistics.median(a[column] / b[column] for a, b in zip(rows[ALWAYS], rows[INTERVAL], strict=True))
        for column in ("requests/s", "p99 ms")
    )
    flush = statistics.median(device)
    return {
        "figures": {
            "Durable answers, 64 connections": figures,
            "The device": {
                "fdatasync after 32 kB": {"ms": flush, "fastest ms": min(device), "slowest ms": max(device)}
            },
        },
        "goals": [
            goal("rate of always, to that of 1s", rate, ">=", 0.7),
            goal("p99 of always, to that of 1s", late, "<", 3),
        ],
    }


if __name__ == "__main__":
    sys.exit(alone("durable", measure))
