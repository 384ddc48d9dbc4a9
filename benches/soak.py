"""Half an hour under load: memory, descriptors, threads and segments stay flat.

    python -m benches.soak [--minutes 30] [--share 0.7 | --rate 20000] [--workers 1]

``pixelcore serve`` with Kafka, at a share of the rate that it reaches with 64 connections that each wait for their
answer. It samples all processes every few seconds. A figure is flat when its median over the last third of the time equals
that over the first. At the end all answered events are in the topic, by the gateway's own metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pixelcore.journals import EVENTS
from pixelcore.observing.backlog import BacklogScanner
from prometheus_client.parser import text_string_to_metric_families

from benches import fixtures, results
from benches.results import Goal, Part, Table, goal, goals_table
from tests.kafka.broker import free_port
from tests.support import servers

EVERY_SECONDS: Final = 5.0
CHUNK_SECONDS: Final = 20.0
"""How long one driver runs. The next one connects anew, as clients do, and it need not remember more answers than these."""
CONNECTIONS: Final = 256
WARM_UP: Final = 0.1
"""The share of the time that the verdict leaves out: caches and pools fill."""
FLAT: Final = 1.1
SEGMENT: Final = 16 << 20
TOPIC: Final = {"retention.bytes": str(1 << 30), "segment.bytes": str(128 << 20)}
"""Half an hour of events need not stay on the disk."""

Series = dict[str, list[float]]
TITLE: Final = "Thirds of the time"


def look(server: servers.Server, scanner: BacklogScanner) -> dict[str, float]:
    """One sample. A worker is whatever is below the server and is not the process of the metrics."""
    assert server.process is not None
    main = psutil.Process(server.process.pid)
    workers = set(server.workers())
    found: dict[str, float] = defaultdict(float)
    for process in (main, *main.children(recursive=True)):
        with suppress(psutil.Error):
            name = "server" if process == main else "workers" if process.pid in workers else "metrics"
            with process.oneshot():
                found[f"RSS of {name}, MB"] += process.memory_info().rss / 1e6
                found[f"descriptors of {name}"] += process.num_fds()
                found[f"threads of {name}"] += process.num_threads()
    found["segments"] = len(list((server.data_dir / EVENTS).glob("*/*.ndjson")))
    backlog = scanner.scan()
    found["journal, MB"] = backlog.bytes / 1e6
    found["lag, events"] = backlog.lag_events
    return found


class Watch(threading.Thread):
    """Samples a server until it is told to stop."""

    def __init__(self, server: servers.Server, every: float) -> None:
        super().__init__(name="watch", daemon=True)
        self._server = server
        self._every = every
        self._looker = BacklogScanner(server.data_dir / EVENTS)
        self._done = threading.Event()
        self.series: Series = defaultdict(list)

    def run(self) -> None:
        began = time.monotonic()
        while not self._done.wait(self._every):
            sample = look(self._server, self._looker)
            self.series["minutes"].append((time.monotonic() - began) / 60)
            for name, value in sample.items():
                self.series[name].append(value)

    def stop(self) -> Series:
        """End, and all samples by name."""
        self._done.set()
        self.join()
        return dict(self.series)


def thirds(series: Series) -> tuple[Table, list[Goal]]:
    """Medians over the first and the last third, and whether what must be flat is."""
    table: Table = {}
    goals: list[Goal] = []
    for name, values in series.items():
        if name == "minutes":
            continue
        after = values[int(len(values) * WARM_UP) :]
        third = max(1, len(after) // 3)
        first, last = statistics.median(after[:third]), statistics.median(after[-third:])
        table[name] = {"first third": first, "last third": last, "highest": max(values)}
        if name.startswith("RSS"):
            goals.append(goal(f"{name}: last third to first", last / first, "<=", FLAT))
        elif name.startswith(("descriptors", "threads", "segments")):
            goals.append(goal(f"{name}: last third less first", last - first, "<=", 1))
    return table, goals


def counted(port: int) -> dict[str, float]:
    """The gateway's own sums by name, over all labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    sums: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name.removeprefix("pixelcore_")] += sample.value
    return sums


def load(port: int, rate: float | None, requests: int, core: int | None) -> tuple[int, float]:
    """A driver's round: how many were answered, and the rate. Every answer is checked; a wrong one raises."""
    more = ("--rate", str(rate)) if rate else ()
    with fixtures.Driver(port, requests, CONNECTIONS if rate else 64, core, *more) as driver:
        driver.go()
        found = driver.load()
    return found["answered"], found["answered"] / found["seconds"]


@contextmanager
def gateway(directory: Path, bootstrap: str, workers: int, metrics: int, core: int | None) -> Iterator[servers.Server]:
    """A running ``pixelcore serve`` that ships to a topic that forgets."""
    topic = f"soak-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 4, 1, config=TOPIC)])[topic].result(30)
    settings = servers.kafka_settings(bootstrap, topic) | {
        "PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{metrics}",
        "PIXELCORE_JOURNAL_SEGMENT_BYTES": str(SEGMENT),
    }
    server = servers.Server(directory / "gateway", settings, workers_wanted=workers)
    try:
        with fixtures.pinned(core):
            server.start()
        yield server
    finally:
        server.kill()


def soak(directory: Path, minutes: float, share: float, rate: float | None, workers: int) -> Part:
    """All of it. Raises `LeftOutError` where there is no Kafka."""
    cores = fixtures.cores()
    metrics = free_port()
    with (
        fixtures.broker(directory, cores.broker) as broker,
        gateway(directory, broker.bootstrap, workers, metrics, cores.server if workers == 1 else None) as server,
    ):
        answered = soaked = 0
        if rate is None:
            rounds = [load(server.port, None, 50_000, cores.driver) for _ in range(4)]
            answered += sum(count for count, _ in rounds)
            rate = share * statistics.median(found for _, found in rounds[1:])
        watch = Watch(server, min(EVERY_SECONDS, minutes * 60 / 30))
        watch.start()
        began = time.monotonic()
        while (left := minutes * 60 - (time.monotonic() - began)) > 0:
            count, _ = load(server.port, rate, max(1, int(rate * min(CHUNK_SECONDS, left))), cores.driver)
            soaked += count
            print(f"{(time.monotonic() - began) / 60:.1f} of {minutes:g} minutes", file=sys.stderr, flush=True)
        reached = soaked / (time.monotonic() - began)
        answered += soaked
        series = watch.stop()
        sums = settled(metrics, answered)
        complaints = [line for line in server.log().splitlines() if '"ERROR"' in line or "Traceback" in line]
    table, goals = thirds(series)
    account: Table = {
        "requests": {"answered": answered, "accepted": int(sums["requests_total"]), "lost": int(sums["lost_total"])},
        "events": {"shipped": int(sums["shipped_events_total"]), "transactions": int(sums["batches_total"])},
        "rate": {"wanted requests/s": rate, "requests/s": reached, "minutes": minutes, "workers": workers},
        "log": {"errors": len(complaints)},
    }
    goals += [
        goal("answered, and not in the topic", answered - sums["shipped_events_total"], "<=", 0),
        goal("in the topic, and not asked for", sums["shipped_events_total"] - answered, "<=", 0),
        goal("errors in the log", len(complaints), "<=", 0),
    ]
    return {"figures": {"A soak": account, TITLE: table}, "goals": goals, "series": series}


def settled(metrics: int, answered: int, timeout: float = 120.0) -> dict[str, float]:
    """The gateway's sums once everything is shipped, or when the time is over."""
    deadline = time.monotonic() + timeout
    while (sums := counted(metrics))["shipped_events_total"] < answered and time.monotonic() < deadline:
        time.sleep(0.5)
    return sums


def main() -> int:
    """Soak as the command line says; 1 when something grew, or was lost."""
    parser = argparse.ArgumentParser(prog="python -m benches.soak", description="Load a gateway for a long time.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--share", type=float, default=0.7, help="of the highest rate, which is measured first")
    parser.add_argument("--rate", type=float, help="requests a second instead")
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    results.clean_up_when_terminated()
    # A short one is no soak: it shows that this works.
    result = results.environment(quick=wanted.minutes < 10)
    with tempfile.TemporaryDirectory(prefix="pixelcore-soak-") as directory:
        part = soak(Path(directory), wanted.minutes, wanted.share, wanted.rate, wanted.workers)
    result["parts"]["soak"] = part
    print(json.dumps(part["figures"], indent=1))
    print(goals_table({"soak": part}))
    print(os.path.relpath(results.write(result)))
    return 0 if all(found["met"] for found in part["goals"]) else 1


if __name__ == "__main__":
    sys.exit(main())
