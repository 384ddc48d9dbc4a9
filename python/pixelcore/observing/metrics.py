"""Prometheus metrics of a gateway: the sums of its workers' counters, and figures from the disk.

The process ``python -m pixelcore.observing.metrics`` serves them. `metrics_process` runs it, and no other process imports
prometheus_client. ``pixelcore serve`` itself must have no socket and no thread, because its workers are forks of it.
"""

from __future__ import annotations

import contextlib
import math
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

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .. import __version__, consents
from .._core import Counters
from ..address import HostPort, why_not
from ..errors import SettingsError
from ..files import SHARED, try_lock
from ..journals import EVENTS, REJECTIONS, SHIPPED
from ..settings import Settings, load
from ..sidecar import LISTENING
from .backlog import BacklogScanner, undeliverable_bytes
from .counters import BOUNDS, DIRECTORY, NAMES, SUFFIX, SUM
from .metrics_server import Server

FOLD_SECONDS = 60.0
GAUGES = ("unready", "inline")
"""Slots with the state of a living worker, which are meaningless for a dead one. The gateway's value is their sum."""
STALLED = tuple(f"stalled_seconds {kind}" for kind in SHIPPED)
"""Likewise, but the gateway's value is the greatest."""


@dataclass(frozen=True)
class Definition:
    """A metric. Its full name is ``pixelcore_`` and ``name``; a counter's ends in ``_total``."""

    kind: type[CounterMetricFamily | GaugeMetricFamily] | None
    """None for a histogram."""
    name: str
    labels: tuple[str, ...]
    help: str
    of_kafka: bool = False
    """Whether it is absent if no Kafka is set."""


C, G, H = CounterMetricFamily, GaugeMetricFamily, None
METRICS = (
    Definition(C, "requests", ("type", "outcome"), "Pixel requests by their outcome: accepted, rejected or lost."),
    Definition(
        C, "rejections", ("reason",), "Rejected requests by reason; their records are kept in a journal of rejections."
    ),
    Definition(
        C,
        "rejections_dropped",
        ("why",),
        "Records of rejected requests that the byte budget did not keep: the oldest, and those of floods beyond their share.",
    ),
    Definition(
        C,
        "lost",
        (),
        "Requests that could not be journaled, because the disk or the byte budget was full, or the disk failed.",
    ),
    Definition(C, "repairs", ("field",), "Events with a repaired value; context.repaired keeps the original."),
    Definition(
        C,
        "requests_by_mode",
        ("mode",),
        "Accepted requests by mode, the most that may be kept of them; individual is the whole event.",
    ),
    Definition(
        C,
        "consent_faults",
        ("kind",),
        "Requests without any kept record, because their URL does not suit their mode.",
    ),
    Definition(C, "protected", ("protection",), "Events of pipelines with secrets: unsigned, signed or sealed."),
    Definition(C, "ignored_parameters", (), "Parameters with unknown names, which are left out of events."),
    Definition(
        C, "doubtful_values", ("field", "kind"), "Ids in events that identify nobody, such as undefined or a merge tag."
    ),
    Definition(
        C,
        "quoted_printable",
        ("kind",),
        "Queries that a mailer left quoted-printable, or decoded although they were not encoded.",
    ),
    Definition(C, "appended_bytes", ("journal",), "Bytes appended to the journals, newlines included."),
    Definition(H, "fsync_seconds", (), "Seconds to flush the journals to the device."),
    Definition(G, "journal_bytes", ("journal",), "Bytes of all segments on the disk, shipped ones included."),
    Definition(G, "journal_max_bytes", ("journal",), "The byte budget of a kind of journal."),
    Definition(G, "workers", (), "Running workers."),
    Definition(G, "unready_workers", (), "Workers that are losing events, whose /readyz says 503."),
    Definition(
        G, "inline_workers", (), "Workers that answer requests in Granian's thread; others answer in the event loop."
    ),
    Definition(G, "lag_bytes", ("journal",), "Journaled bytes that are not in Kafka yet.", True),
    Definition(G, "lag_events", ("journal",), "Journaled lines that are not in Kafka yet.", True),
    Definition(G, "lag_seconds", ("journal",), "Age of the oldest line that is not in Kafka yet; 0 without one.", True),
    Definition(
        G,
        "stalled_seconds",
        ("journal",),
        "Seconds for which nothing has reached Kafka although there is something to ship.",
        True,
    ),
    Definition(
        C, "journal_damage", ("kind",), "Parts of journals that the forwarder could not read, in bytes or lines.", True
    ),
    Definition(C, "batches", ("journal",), "Batches committed to Kafka.", True),
    Definition(C, "shipped_events", ("journal",), "Lines committed to Kafka.", True),
    Definition(H, "transaction_seconds", (), "Seconds from producing a batch to its commit.", True),
    Definition(C, "delivery_errors", ("code",), "Failed deliveries, by librdkafka's error.", True),
    Definition(
        G,
        "consent_age_seconds",
        (),
        "Age of the consent list in seconds; +Inf: it was never read to its end, 0: no secret is set.",
        True,
    ),
    Definition(
        G,
        "consent_list_records",
        (),
        "Records in the consent list: one per person and scope, and one per scope and key id.",
    ),
    Definition(G, "consent_list_bytes", (), "Bytes of the consent list on the disk."),
    Definition(G, "consent_unreadable_keys", (), "Key ids in the consent list for which no secret is set."),
    Definition(C, "consent_records", ("outcome",), "Records read from the consent topic: applied or malformed.", True),
    Definition(H, "consent_lag_seconds", (), "Seconds from writing a consent record until it is in force here.", True),
    Definition(
        C,
        "consent_withheld",
        (),
        "Events that were not shipped, because they arrived after their persons' withdrawals.",
        True,
    ),
    Definition(C, "undeliverable", (), "Events that their topic refuses, kept in undeliverable.ndjson.", True),
    Definition(
        G,
        "undeliverable_bytes",
        (),
        "Bytes of undeliverable.ndjson, to be shipped again after the topic is repaired.",
        True,
    ),
)


class Gateway(Collector):
    """All metrics of the workers that count in one directory."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        ships = {EVENTS: settings.ships, REJECTIONS: settings.ships and settings.rejected_topic is not None}
        self._scanners = {kind: BacklogScanner(settings.data_dir / kind, shipped) for kind, shipped in ships.items()}
        self._dead = Counter(Counters(NAMES).slots())
        for gauge in (*GAUGES, *STALLED):
            del self._dead[gauge]
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering does not scan the disk."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics now."""
        with self._lock:
            slots, gauges = self._read_counters()
            samples = _of_slots(slots) | gauges | self._of_disk()
        for definition in METRICS:
            if self._settings.ships or not definition.of_kafka:
                yield _family(definition, samples.get(definition.name, {}))
        yield InfoMetricFamily("pixelcore_build", "The running version.", {"version": __version__})

    def fold(self) -> None:
        """Keep the counts of dead workers in memory instead of files."""
        with self._lock:
            self._read_counters()

    def _read_counters(self) -> tuple[Counter[str], dict[str, Samples]]:
        """The sums over all workers, dead ones included, and the state of the living ones."""
        total, gauges, living = Counter[str](), Counter[str](), 0
        stalled = dict.fromkeys(STALLED, 0)
        for path in self._directory.glob(f"*{SUFFIX}"):
            with path.open("rb") as file:
                # In this order: after a worker's lock is free, its last counts are in the file.
                dead = try_lock(file.fileno(), SHARED)
                slots = _read(file.fileno())
            now = {gauge: slots.pop(gauge) for gauge in GAUGES}
            longest = {gauge: slots.pop(gauge) for gauge in STALLED}
            if dead:
                self._dead.update(slots)
                path.unlink()
            else:
                total.update(slots)
                living += 1
                gauges.update(now)
                stalled = {gauge: max(seconds, longest[gauge]) for gauge, seconds in stalled.items()}
        total.update(self._dead)
        samples: dict[str, Samples] = {"workers": {(): living}}
        samples |= {f"{gauge}_workers": {(): gauges[gauge]} for gauge in GAUGES}
        kinds = [kind for kind in SHIPPED if kind != REJECTIONS or self._settings.rejected_topic is not None]
        samples["stalled_seconds"] = {(kind,): stalled[f"stalled_seconds {kind}"] for kind in kinds}
        return total, samples

    def _of_disk(self) -> dict[str, Samples]:
        samples: dict[str, Samples] = {
            "journal_max_bytes": {
                (EVENTS,): self._settings.journal_max_bytes,
                (REJECTIONS,): self._settings.rejected_max_bytes,
            },
            "undeliverable_bytes": {(): undeliverable_bytes(self._settings.data_dir)},
        }
        samples |= _of_consents(self._settings)
        for name, scanner in self._scanners.items():
            found = scanner.scan()
            samples.setdefault("journal_bytes", {})[name,] = found.bytes
            if scanner.ships:
                samples.setdefault("lag_bytes", {})[name,] = found.lag_bytes
                samples.setdefault("lag_events", {})[name,] = found.lag_events
                age = 0.0 if found.oldest is None else max(0.0, time.time() - found.oldest)
                samples.setdefault("lag_seconds", {})[name,] = age
        return samples


Samples = dict[tuple[str, ...], float]


def _of_consents(settings: Settings) -> dict[str, Samples]:
    """The figures of the consent list; zeros if there is none."""
    size = count = unreadable = heard = 0
    with contextlib.suppress(OSError, SettingsError):
        size = (consents.directory(settings) / consents.LIST).stat().st_size
        found = consents.ceilings(settings)
        count, heard = found.count, found.heard
        unreadable = sum(not is_known for _, is_known in found.key_ids)
    age = 0.0
    if settings.consent_secret:
        age = max(0.0, time.time() - heard / 1000) if heard else math.inf
    return {
        "consent_age_seconds": {(): age},
        "consent_list_records": {(): count},
        "consent_list_bytes": {(): size},
        "consent_unreadable_keys": {(): unreadable},
    }


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
        if outcome == "accepted":
            add(count, "requests_by_mode", "individual")
    # The core counts only the modes below individual; the rest is individual.
    modes = samples["requests_by_mode"]
    modes["individual",] -= sum(count for (mode,), count in modes.items() if mode != "individual")
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
    """Serve metrics until stdin closes, which happens at any end of ``pixelcore serve``.

    Prints ``LISTENING`` on stdout, or one line with the wrong setting.
    """
    # A terminal signals the whole group of processes, but this one must end after the server.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    settings = load()
    gateway = Gateway(settings, Path(os.environ[DIRECTORY]))
    registry = CollectorRegistry()
    registry.register(gateway)
    address = HostPort.parse(settings.metrics_address)
    try:
        server = Server(address, registry)
    except OSError as error:
        print(f"PIXELCORE_METRICS_ADDRESS: {settings.metrics_address}: {why_not(error)}")
        return
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(LISTENING, flush=True)
    while not select.select([sys.stdin], [], [], FOLD_SECONDS)[0]:
        gateway.fold()


if __name__ == "__main__":
    main()
