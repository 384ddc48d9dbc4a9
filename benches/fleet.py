"""A model of many gateways: what their transactions cost a cluster, and how long a journal takes to open.

    python -m benches.fleet                                               the fleets of docs/fleet.md
    python -m benches.fleet --workers 50 --gateways 25 --rate 6250        one more
    python -m benches.fleet --write                                       into docs/fleet.md

It is arithmetic. `Costs` has the coefficients. Those of a broker come from the newest result of `benches.intervals`.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pixelcore.settings import DEFAULTS
from pixelcore.shipping.policies import BATCH_BYTES, BATCH_EVENTS
from pixelcore.shipping.topics import CHECKPOINT_PARTITIONS

from benches import intervals, results
from benches.servers import ROOT

DAY: Final = 86_400
PAGE: Final = ROOT / "docs" / "fleet.md"
BEGIN, END = "<!-- make fleet writes this table -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Costs:
    """The coefficients, of one broker without replicas and a worker on a core of its own."""

    transaction_us: float
    """Microseconds of a broker's core for a transaction with one event, the checkpoint included."""
    partition_us: float
    """The same for each further partition that the transaction writes to."""
    event_us: float
    """The same for each further event."""
    log_bytes: float
    """Bytes in the log of transactions for a transaction with one event."""
    log_partition_bytes: float
    """The same for each further partition."""
    checkpoint_bytes: float
    """Bytes of a checkpoint and its marker."""
    marker_bytes: float = 78
    """Bytes of a marker."""
    life_bytes: float = 331
    """Bytes of a life that stay in the checkpoint topic (decision 18)."""
    event_bytes: float = 576
    """Bytes of an event (docs/capacity.md)."""
    request_us: float = 22.4
    """Microseconds of a gateway's core for a request (docs/capacity.md)."""
    open_seconds: float = 0.05
    """Seconds to open a journal and ship its 100 events: `benches.refusals`, a fiftieth of the row of 50 orphaned journals."""
    record_us: float = 1
    """Microseconds of a core to read another journal's checkpoint (decision 14)."""


def measured(table: results.Table) -> Costs:
    """The coefficients of a broker, as differences between rows of `benches.intervals`."""
    lonely, few, many = table["100ms, 10/s"], table["100ms, 1000/s"], table[intervals.MANY]
    large = table["500ms, 1000/s"]
    markers, cpu, log = (
        "markers in the topic/transaction",
        "broker us/transaction",
        "transaction log bytes/transaction",
    )
    further = many[markers] - few[markers]
    events = [1000 / row["transactions/s"] for row in (few, large)]
    return Costs(
        transaction_us=lonely[cpu],
        partition_us=max(0.0, (many[cpu] - few[cpu]) / further),
        event_us=max(0.0, (large[cpu] - few[cpu]) / (events[1] - events[0])),
        log_bytes=lonely[log],
        log_partition_bytes=max(0.0, (many[log] - few[log]) / further),
        checkpoint_bytes=lonely["checkpoint bytes/transaction"],
    )


@dataclass(frozen=True)
class Fleet:
    """What is planned. All workers get as many requests."""

    workers: int
    gateways: int
    rate: float
    """Requests a second, of all workers."""
    interval: float = DEFAULTS.batch_interval
    """Seconds between the beginnings of batches."""
    deploys: float = 10
    """Restarts of every worker, a day."""
    retention_days: float = 90
    """For which checkpoints are kept."""
    partitions: int = 60
    """Of the topic of events."""


@dataclass(frozen=True)
class Plan:
    """What it costs. Bytes and CPU are those of the leaders: replicas come on top."""

    transactions: float
    """A second."""
    events_of_one: float
    """Events of a transaction."""
    markers: float
    """A second, those of checkpoints included."""
    log_bytes: float
    """Of the log of transactions, a second, before it is compacted."""
    checkpoint_bytes: float
    """A day, before they are compacted."""
    kept_bytes: float
    """Of the checkpoint topic, once it is compacted."""
    ids: float
    """Transactional ids that the brokers remember, for a week."""
    broker_cores: float
    gateway_cores: float
    open_seconds: float
    """Until a journal that was just born is open."""
    kill_seconds: float
    """Until the journals of a killed gateway are shipped by one of its workers, besides their events."""


def plan(fleet: Fleet, costs: Costs) -> Plan:
    """The figures of a fleet."""
    rate = fleet.rate / fleet.workers
    largest = min(BATCH_EVENTS, BATCH_BYTES / costs.event_bytes)
    # A worker begins a batch at each interval, if there is an event, and full ones at once.
    of_worker = max(min(rate, 1 / fleet.interval), rate / largest)
    transactions = fleet.workers * of_worker
    events = rate / of_worker
    # Users fall everywhere, so a batch misses a partition with the chance of each event to fall elsewhere.
    touched = fleet.partitions * (1 - (1 - 1 / fleet.partitions) ** events)
    cpu = costs.transaction_us + (touched - 1) * costs.partition_us + (events - 1) * costs.event_us
    lives = fleet.workers * fleet.deploys
    # A reader begins a minute before the journal's birth, and reads the checkpoints of its partition since then.
    records = transactions * 60 / CHECKPOINT_PARTITIONS
    opening = costs.open_seconds + records * costs.record_us / 1e6
    return Plan(
        transactions=transactions,
        events_of_one=events,
        markers=transactions * (touched + 1),
        log_bytes=transactions * (costs.log_bytes + (touched - 1) * costs.log_partition_bytes),
        checkpoint_bytes=transactions * DAY * costs.checkpoint_bytes,
        kept_bytes=lives * fleet.retention_days * costs.life_bytes,
        ids=fleet.workers + lives * 7,
        broker_cores=transactions * cpu / 1e6,
        gateway_cores=fleet.rate * costs.request_us / 1e6,
        open_seconds=opening,
        kill_seconds=opening * math.ceil(fleet.workers / fleet.gateways),
    )


FLEETS: Final = (
    Fleet(2, 2, 100),
    Fleet(50, 25, 6_250),
    Fleet(400, 50, 50_000),
    Fleet(32, 5, 1_000_000),
    Fleet(1_000, 125, 1_000_000),
    Fleet(8_000, 1_000, 1_000_000),
)


def rows(fleet: Fleet, costs: Costs) -> dict[str, str]:
    """A fleet and its figures, for people."""
    found = plan(fleet, costs)
    return {
        "workers": f"{fleet.workers:,}",
        "gateways": f"{fleet.gateways:,}",
        "requests/s": f"{fleet.rate:,.0f}",
        "transactions/s": f"{found.transactions:,.0f}",
        "events of a transaction": f"{found.events_of_one:,.0f}",
        "markers/s": f"{found.markers:,.0f}",
        "log of transactions, MB/s": f"{found.log_bytes / 1e6:,.2f}",
        "checkpoints, GB a day": f"{found.checkpoint_bytes / 1e9:,.1f}",
        "the same, compacted, MB": f"{found.kept_bytes / 1e6:,.1f}",
        "transactional ids": f"{found.ids:,.0f}",
        "cores of brokers": f"{found.broker_cores:,.1f}",
        "cores of workers": f"{found.gateway_cores:,.1f}",
        "to open a journal, s": f"{found.open_seconds:,.2f}",
        "journals of a killed gateway, s": f"{found.kill_seconds:,.1f}",
    }


def markdown(fleets: Sequence[Fleet], costs: Costs) -> str:
    """The table, a column for each fleet."""
    columns = [rows(fleet, costs) for fleet in fleets]
    first, *others = columns[0]
    heading = [first, *(column[first] for column in columns)]
    lines = [heading, ["---"] * len(heading), *([name, *(column[name] for column in columns)] for name in others)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def newest() -> tuple[Mapping[str, str], Costs]:
    """The newest costs, and where they were measured."""
    for file in reversed(results.kept()):
        result = results.read(file)
        if "intervals" in result["parts"]:
            table = result["parts"]["intervals"]["figures"][intervals.COST_TITLE]
            return {"file": file.name, "cpu": result["cpu"]}, measured(table)
    raise SystemExit("no result has intervals: run python -m benches --only intervals")


def block() -> str:
    """What docs/fleet.md has between its marks."""
    where, costs = newest()
    coefficients = (
        f"Coefficients of a broker, from `benches/results/{where['file']}`: {costs.transaction_us:,.0f} us of a core for"
        f" a transaction with one event, {costs.partition_us:,.1f} us for each further partition and"
        f" {costs.event_us:,.1f} us for each further event. In the log of transactions it takes"
        f" {costs.log_bytes:,.0f} bytes and {costs.log_partition_bytes:,.1f} for each further partition. A checkpoint with"
        f" its marker takes {costs.checkpoint_bytes:,.0f} bytes."
    )
    return f"{BEGIN}\n\n{markdown(FLEETS, costs)}\n\n{textwrap.fill(coefficients, 100, break_long_words=False, break_on_hyphens=False)}\n\n{END}"


def write(page: Path) -> None:
    """Put the table into a page, in place of the former one."""
    text = page.read_text()
    page.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block(), text, flags=re.DOTALL))


def main() -> int:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(prog="python -m benches.fleet", description="What many gateways cost a cluster.")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--workers", type=int, help="of a fleet of your own")
    parser.add_argument("--gateways", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1000, help="requests a second, of all")
    parser.add_argument("--interval", type=float, default=Fleet.interval, help="PIXELCORE_BATCH_INTERVAL in seconds")
    parser.add_argument("--deploys", type=float, default=Fleet.deploys, help="a day")
    parser.add_argument("--retention-days", type=float, default=Fleet.retention_days, help="of checkpoints")
    parser.add_argument("--partitions", type=int, default=Fleet.partitions, help="of the topic of events")
    arguments = vars(parser.parse_args())
    if arguments.pop("write"):
        write(PAGE)
    if arguments["workers"] is None:
        print(block())
    else:
        print(markdown([Fleet(**arguments)], newest()[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
