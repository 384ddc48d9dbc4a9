"""The model of many gateways: its formulae by hand, and the table of the page."""

from __future__ import annotations

import pytest

from benches import fleet, intervals
from benches.fleet import Costs, Fleet

COSTS = Costs(
    transaction_us=1000, partition_us=20, event_us=5, log_bytes=600, log_partition_bytes=10, checkpoint_bytes=200
)

PLANS: list[tuple[str, Fleet, dict[str, float]]] = [
    (
        "each event is a transaction of its own",
        Fleet(1, 1, 5, deploys=0, partitions=60),
        {
            "transactions": 5,
            "events_of_one": 1,
            "markers": 10,
            "log_bytes": 3000,
            "checkpoint_bytes": 5 * 86_400 * 200,
            "kept_bytes": 0,
            "ids": 1,
            "broker_cores": 0.005,
            "gateway_cores": 112e-6,
        },
    ),
    (
        "ten workers with ten events each in an interval",
        Fleet(10, 5, 1000, partitions=1),
        {"transactions": 100, "events_of_one": 10, "markers": 200, "log_bytes": 60_000, "broker_cores": 0.1045},
    ),
    (
        "a longer interval",
        Fleet(2, 2, 1000, interval=0.5, partitions=1),
        {"transactions": 4, "events_of_one": 250, "broker_cores": 4 * (1000 + 249 * 5) / 1e6},
    ),
    (
        "two events fall into two partitions or one",
        Fleet(1, 1, 20, partitions=2),
        {"transactions": 10, "markers": 10 * 2.5, "log_bytes": 10 * 605, "broker_cores": 10 * 1015 / 1e6},
    ),
    (
        "full batches follow at once, by bytes",
        Fleet(32, 4, 1_000_000),
        {"transactions": 640, "events_of_one": 1562.5, "markers": 640 * 61},
    ),
    (
        "lives and their ids",
        Fleet(10, 5, 10, deploys=2, retention_days=30),
        {"kept_bytes": 10 * 2 * 30 * 331, "ids": 10 + 10 * 2 * 7},
    ),
    (
        "a journal's partition of others' checkpoints of a minute",
        Fleet(25_000, 10, 250_000),
        {"open_seconds": 0.05 + 600_000 * 1e-6, "kill_seconds": 2500 * (0.05 + 600_000 * 1e-6)},
    ),
]


@pytest.mark.parametrize(("planned", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PLANS])
def test_plans(planned: Fleet, expected: dict[str, float]) -> None:
    found = fleet.plan(planned, COSTS)
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)


def row(transactions: float, cpu: float, markers: float, log: float) -> dict[str, float]:
    return {
        "transactions/s": transactions,
        "broker us/transaction": cpu,
        "markers in the topic/transaction": markers,
        "transaction log bytes/transaction": log,
        "checkpoint bytes/transaction": 200,
    }


def test_coefficients_are_differences_of_rows() -> None:
    table = {
        "100ms, 10/s": row(10, 1000, 1, 600),
        "100ms, 1000/s": row(10, 1500, 4, 630),
        "500ms, 1000/s": row(2, 3500, 4, 630),
        intervals.MANY: row(10, 2400, 49, 1080),
    }
    assert fleet.measured(table) == Costs(
        transaction_us=1000, partition_us=20, event_us=5, log_bytes=600, log_partition_bytes=10, checkpoint_bytes=200
    )


def test_the_page_has_the_table() -> None:
    """After new measurements, `make fleet` writes it."""
    assert fleet.block() in fleet.PAGE.read_text()
