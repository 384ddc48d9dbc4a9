"""Prometheus metrics of a gateway: the sums of its workers' counters, and what the disk tells.

They are served by ``python -m pixelcore.observing.metrics``, which `metrics_process` runs: the only process that imports
prometheus_client. ``pixelcore serve`` itself must have no socket and no thread, since its workers are forks of it.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .. import __version__
from .._core import Counters
from ..address import HostPort
from ..files import SHARED, try_lock
from ..journals import EVENTS, REJECTIONS
from ..settings import Settings, load
from ..sidecar import LISTENING
from .backlog import BacklogScanner
from .counters import BOUNDS, DIRECTORY, NAMES, SUFFIX, SUM

FOLD_SECONDS = 60.0
GAUGES = ("unready", "inline")
"""Slots that say how a living worker is, and nothing of a dead one."""


@dataclass(frozen=True)
class Definition:
    """A metric, ``pixelcore_`` and its name; counters get ``_total``."""

    kind: type[CounterMetricFamily | GaugeMetricFamily] | None
    """None for a histogram."""
    name: str
    labels: tuple[str, ...]
    help: str
    of_kafka: bool = False
    """Whether it is absent where no Kafka is set."""


C, G, H = CounterMetricFamily, GaugeMetricFamily, None
METRICS = (
    Definition(
        C, "requests", ("type", "outcome"), "Pixel requests by what became of them: accepted, rejected or lost."
    ),
    Definition(C, "rejections", ("reason",), "Rejected requests, which are kept in their own journal."),
    Definition(C, "lost", (), "Requests that could not be journaled: the disk or the budget was full, or failed."),
    Definition(C, "repairs", ("field",), "Events with a value that was replaced and kept in context.repaired."),
    Definition(C, "appended_bytes", ("journal",), "Bytes appended to the journals, newlines included."),
    Definition(H, "fsync_seconds", (), "How long it took to flush the journals to the device."),
    Definition(G, "journal_bytes", ("journal",), "Bytes of all segments on the disk."),
    Definition(G, "journal_max_bytes", ("journal",), "The byte budget of a kind of journal."),
    Definition(G, "workers", (), "Workers that live and count."),
    Definition(G, "unready_workers", (), "Workers that are losing events, whose /readyz says 503."),
    Definition(
        G, "inline_workers", (), "Workers that answer requests in Granian's thread; others answer in the event loop."
    ),
    Definition(G, "lag_bytes", ("journal",), "Journaled bytes that are not in Kafka yet.", True),
    Definition(G, "lag_events", ("journal",), "Journaled lines that are not in Kafka yet.", True),
    Definition(G, "lag_seconds", ("journal",), "Age of the oldest line that is not in Kafka yet; 0 without one.", True),
    Definition(C, "batches", ("journal",), "Batches that were committed to Kafka.", True),
    Definition(C, "shipped_events", ("journal",), "Lines that were committed to Kafka.", True),
    Definition(H, "transaction_seconds", (), "From producing a batch to its commit.", True),
    Definition(C, "delivery_errors", ("code",), "Deliveries that failed, by librdkafka's error.", True),
    Definition(C, "undeliverable", (), "Events that no broker takes, kept in undeliverable.ndjson.", True),
)


class Gateway(Collector):
    """All metrics of the workers that count in one directory."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._scanners = {name: BacklogScanner(settings.data_dir / name) for name in (EVENTS, REJECTIONS)}
        self._dead = Counter(Counters(NAMES).slots())
        for gauge in GAUGES:
            del self._dead[gauge]
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing: a look at the disk is not needed to register."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics now."""
        with self._lock:
            slots, gauges = self._read_counters()
            samples = _of_slots(slots) | gauges | self._of_disk()
        for definition in METRICS:
            if self._settings.ships or not definition.of_kafka:
                yield _family(definition, samples.get(definition.name, {}))
        yield InfoMetricFamily("pixelcore_build", "The version that runs.", {"version": __version__})

    def fold(self) -> None:
        """Keep the counts of dead workers in memory instead of files."""
        with self._lock:
            self._read_counters()

    def _read_counters(self) -> tuple[Counter[str], dict[str, Samples]]:
        """The sums over all workers' lives, and how the living ones are."""
        total, gauges, living = Counter[str](), Counter[str](), 0
        for path in self._directory.glob(f"*{SUFFIX}"):
            with path.open("rb") as file:
                # In this order: what a worker counted last is there once its lock is free.
                dead = try_lock(file.fileno(), SHARED)
                slots = _read(file.fileno())
            now = {gauge: slots.pop(gauge) for gauge in GAUGES}
            if dead:
                self._dead.update(slots)
                path.unlink()
            else:
                total.update(slots)
                living += 1
                gauges.update(now)
        total.update(self._dead)
        samples: dict[str, Samples] = {"workers": {(): living}}
        samples |= {f"{gauge}_workers": {(): gauges[gauge]} for gauge in GAUGES}
        return total, samples

    def _of_disk(self) -> dict[str, Samples]:
        samples: dict[str, Samples] = {
            "journal_max_bytes": {
                (EVENTS,): self._settings.journal_max_bytes,
                (REJECTIONS,): self._settings.rejected_max_bytes,
            }
        }
        for name, scanner in self._scanners.items():
            ships = self._settings.ships and (name == EVENTS or self._settings.rejected_topic is not None)
            found = scanner.scan(ships)
            samples.setdefault("journal_bytes", {})[name,] = found.bytes
            if ships:
                samples.setdefault("lag_bytes", {})[name,] = found.lag_bytes
                samples.setdefault("lag_events", {})[name,] = found.lag_events
                age = 0.0 if found.oldest is None else max(0.0, time.time() - found.oldest)
                samples.setdefault("lag_seconds", {})[name,] = age
        return samples


Samples = dict[tuple[str, ...], float]


def _read(file: int) -> dict[str, int]:
    """The slots of a counter file (rust/core/src/counters.rs), each read whole."""
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as mapping:
        header = mapping.readline()
        with memoryview(mapping) as view, view[len(header) :] as body, body.cast("Q") as words:
            return dict(zip(header.decode().rstrip().split(","), words.tolist(), strict=True))


def _of_slots(slots: Counter[str]) -> dict[str, Samples]:
    samples: dict[str, Samples] = {definition.name: {} for definition in METRICS}
    samples["lost"][()] = 0

    def add(count: int, name: str, *labels: str) -> None:
        samples[name][labels] = samples[name].get(labels, 0) + count

    for slot, count in slots.items():
        name, *labels = slot.split(" ")
        if name != "requests":
            add(count, name, *labels)
            continue
        kind, outcome = labels
        if outcome in ("accepted", "lost"):
            add(count, "requests", kind, outcome)
        else:
            add(count, "requests", kind, "rejected")
            add(count, "rejections", outcome)
        if outcome == "lost":
            add(count, "lost")
    return samples


def _family(definition: Definition, samples: Samples) -> Metric:
    name = f"pixelcore_{definition.name}"
    if definition.kind is None:
        counts = accumulate(samples[bound,] for bound in BOUNDS)
        return HistogramMetricFamily(name, definition.help, list(zip(BOUNDS, counts, strict=True)), samples[SUM,] / 1e6)
    family = definition.kind(name, definition.help, labels=definition.labels)
    for labels, value in samples.items():
        family.add_metric(labels, value)
    return family


def main() -> None:
    """Serve metrics until stdin closes, which it does when ``pixelcore serve`` ends, however it ends.

    Says ``LISTENING`` on stdout, or in one line what is wrong with the settings.
    """
    # A terminal's signals are for the whole group of processes; this one ends after the server.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    settings = load()
    gateway = Gateway(settings, Path(os.environ[DIRECTORY]))
    registry = CollectorRegistry()
    registry.register(gateway)
    address = HostPort.parse(settings.metrics_address)
    try:
        start_http_server(address.port, address.host, registry)
    except OSError as error:
        print(f"PIXELCORE_METRICS_ADDRESS: {settings.metrics_address}: {error.strerror}")
        return
    print(LISTENING, flush=True)
    while not select.select([sys.stdin], [], [], FOLD_SECONDS)[0]:
        gateway.fold()


if __name__ == "__main__":
    main()
