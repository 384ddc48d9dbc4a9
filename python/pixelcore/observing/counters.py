"""What this process counts: slots of a file that outlives it, which `metrics` reads.

A slot's name is a word and the values of its labels. Those of requests are the core's; the others are here.
"""

from __future__ import annotations

import bisect
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._core import Counters
from ..journals import EVENTS, REJECTIONS

log = logging.getLogger("pixelcore")

DIRECTORY = "_PIXELCORE_COUNTERS"
"""The variable by which ``pixelcore serve`` tells its workers where it reads counters. It is no setting."""
SUFFIX = ".counters"

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds, from a flush of an idle disk to the patience of a broker."""
BOUNDS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
HISTOGRAMS = ("fsync_seconds", "transaction_seconds")
SUM = "sum"
"""The slot of a histogram that has the sum of what was observed, in microseconds."""

CODES = (
    *("_ALL_BROKERS_DOWN", "_AUTHENTICATION", "_FENCED", "_MSG_TIMED_OUT", "_RESOLVE", "_SSL", "_STATE", "_TIMED_OUT"),
    *("_TRANSPORT", "_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC", "CLUSTER_AUTHORIZATION_FAILED", "CONCURRENT_TRANSACTIONS"),
    *("INVALID_PRODUCER_EPOCH", "INVALID_RECORD", "INVALID_TXN_STATE", "LEADER_NOT_AVAILABLE", "MSG_SIZE_TOO_LARGE"),
    *("NOT_ENOUGH_REPLICAS", "NOT_LEADER_FOR_PARTITION", "PRODUCER_FENCED", "REQUEST_TIMED_OUT"),
    *("SASL_AUTHENTICATION_FAILED", "TOPIC_AUTHORIZATION_FAILED", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
    "UNKNOWN_TOPIC_OR_PART",
)
"""librdkafka's names of the errors that are counted one by one."""
JOURNAL, OTHER = "journal", "other"

NAMES = [
    *(f"{word} {journal}" for word in ("batches", "shipped_events") for journal in (EVENTS, REJECTIONS)),
    *(f"delivery_errors {code}" for code in (*CODES, JOURNAL, OTHER)),
    "undeliverable",
    *(f"{histogram} {slot}" for histogram in HISTOGRAMS for slot in (*BOUNDS, SUM)),
    "unready",
    "inline",
]

_counters = Counters(NAMES)


def begin() -> Counters:
    """The counters of this process: in a file where ``pixelcore serve`` wants them, else in memory."""
    global _counters
    directory = os.environ.get(DIRECTORY)
    if directory is not None:
        try:
            _counters = Counters(NAMES, Path(directory, f"{uuid.uuid4()}{SUFFIX}"))
        except OSError as error:
            log.error("the metrics lack what this worker does: %s", error)
    return _counters


def shipped(journal: str, events: int) -> None:
    """Count a batch of the events or the rejections."""
    _counters.add(f"batches {journal}")
    _counters.add(f"shipped_events {journal}", events)


def delivery_failed(code: str) -> None:
    """Count an error of a delivery by librdkafka's name, or `JOURNAL` where it was not Kafka's."""
    _counters.add(f"delivery_errors {code if code in (*CODES, JOURNAL) else OTHER}")


def undeliverable(code: str) -> None:
    """Count an event that no broker takes, and the error of its delivery."""
    delivery_failed(code)
    _counters.add("undeliverable")


def ready(is_ready: bool) -> None:
    """Say whether new events are safe here."""
    _counters.set("unready", not is_ready)


def inline(is_inline: bool) -> None:
    """Say whether requests are answered inline, rather than by the event loop."""
    _counters.set("inline", is_inline)


@contextmanager
def timed(histogram: str) -> Iterator[None]:
    """Observe how long something took, unless it failed."""
    begun = time.perf_counter()
    yield
    observe(histogram, time.perf_counter() - begun)


def observe(histogram: str, seconds: float) -> None:
    """Count how long something took."""
    _counters.add(f"{histogram} {SUM}", int(seconds * 1e6))
    _counters.add(f"{histogram} {BOUNDS[bisect.bisect_left(BUCKETS, seconds)]}")
