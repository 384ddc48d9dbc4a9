"""The constants of production, which other tests replace by small values: each is as documented."""

from __future__ import annotations

from typing import Any

import pytest
from pixelcore.commands import tail
from pixelcore.inspect import feed, server
from pixelcore.observing import log, stalls
from pixelcore.serving import handover, housekeeping, key_file, rate_limits, safety, worker
from pixelcore.shipping import checkpoints, delivery, forwarder, journal_shipper, policies, routing, topics

VALUES: list[tuple[Any, str, Any]] = [
    # where, its name, what it is
    (policies, "BATCH_EVENTS", 2500),
    (policies, "BATCH_BYTES", 900_000),
    (policies, "BATCH_REQUEST_BYTES", 1_000_000),
    (policies, "BACKOFF_SECONDS", 0.1),
    (policies, "MAX_BACKOFF_SECONDS", 2.0),
    (policies, "BEHIND_SECONDS", 5.0),
    (policies, "CATCH_UP_SECONDS", 60.0),
    (journal_shipper, "WAIT_MS", 100),
    (journal_shipper, "LIMITS_SECONDS", 60.0),
    (forwarder, "ORPHANS_EVERY_SECONDS", 2.0),
    (forwarder, "RESTART_SECONDS", 1.0),
    (forwarder, "MAX_RESTART_SECONDS", 30.0),
    (forwarder, "FENCED_SECONDS", 15.0),
    (forwarder, "NICENESS", 15),
    (delivery, "ANY_PARTITION", -1),
    (delivery, "FRAMING_BYTES", 68),
    (checkpoints, "QUIET_SECONDS", 60.0),
    (checkpoints, "MARGIN_MS", 60_000),
    (checkpoints, "AHEAD_MS", 1_800_000),
    (checkpoints, "REQUEST_SECONDS", 10.0),
    (checkpoints, "CLOSE_SECONDS", 10.0),
    (topics, "CHECKPOINT_PARTITIONS", 25),
    (topics, "REFRESH_SECONDS", 300.0),
    (topics, "REQUEST_SECONDS", 5.0),
    (routing, "LOOK_SECONDS", 2.0),
    (stalls, "STALLED_SECONDS", 60.0),
    (stalls, "LOG_SECONDS", 60.0),
    (stalls, "ROUND_SECONDS", 1.0),
    (log, "REPEAT_SECONDS", 60.0),
    (log, "KINDS", 1000),
    (safety, "REPORT_SECONDS", 60.0),
    (safety, "NAMES", 100),
    (housekeeping, "ROUND_SECONDS", 1.0),
    (housekeeping, "SPARE_BYTES", 2**20),
    (worker, "SWITCH_SECONDS", 0.0002),
    (key_file, "LOOK_SECONDS", 1.0),
    (rate_limits, "KEYS", 128),
    (rate_limits, "GROWTH", 2),
    (handover, "LOOK_SECONDS", 0.1),
    (handover, "LOOKS", 10),
    (tail, "POLL_SECONDS", 0.1),
    (tail, "LAST_BYTES", 32 * 2**20),
    (feed, "LINES_A_SECOND", 100),
    (feed, "BURST", 300),
    (feed, "FEW", 10),
    (feed, "BYTES", 256 * 2**10),
    (feed, "RECENT_LINES", 20),
    (feed, "RECENT_BYTES", 32 * 2**10),
    (server, "TICK_SECONDS", 0.1),
    (server, "COUNT_SECONDS", 1.0),
    (server, "PAGES", 8),
    (server, "IO_SECONDS", 20.0),
    (server, "MAX_BODY", 64 * 2**10),
]


@pytest.mark.parametrize(
    ("module", "name", "value"), [pytest.param(*row, id=f"{row[0].__name__}.{row[1]}") for row in VALUES]
)
def test_values(module: Any, name: str, value: Any) -> None:
    assert getattr(module, name) == value
