"""The counters of this process: slots of a file that outlives it. `metrics` reads that file.

A slot's name is a word and the values of its labels. The core names the slots of requests; the other names are here.
"""

from __future__ import annotations

import bisect
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._core import Counters
from ..journals import SHIPPED

log = logging.getLogger("pixelcore")

DIRECTORY = "_PIXELCORE_COUNTERS"
"""The variable with the directory of the counter files, which ``pixelcore serve`` sets for its workers. It is not a setting."""
SUFFIX = ".counters"
FILES = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(counters|new)")
"""The names of pixelcore's files in the directory. Other files are left alone."""

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds, from a flush of an idle disk to the timeout of a broker."""
BOUNDS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
HISTOGRAMS = ("fsync_seconds", "transaction_seconds", "consent_lag_seconds")
SUM = "sum"
"""The slot of a histogram with the sum of all observations, in microseconds."""

CODES = (
    *("_ALL_BROKERS_DOWN", "_AUTHENTICATION", "_FENCED", "_MSG_TIMED_OUT", "_RESOLVE", "_SSL", "_STATE", "_TIMED_OUT"),
    *("_TRANSPORT", "_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC", "CLUSTER_AUTHORIZATION_FAILED", "CONCURRENT_TRANSACTIONS"),
    *("INVALID_PRODUCER_EPOCH", "INVALID_PRODUCER_ID_MAPPING", "INVALID_RECORD", "INVALID_TIMESTAMP"),
    *("INVALID_TRANSACTION_TIMEOUT", "INVALID_TXN_STATE", "LEADER_NOT_AVAILABLE", "MSG_SIZE_TOO_LARGE", "_QUEUE_FULL"),
    *("NOT_ENOUGH_REPLICAS", "NOT_LEADER_FOR_PARTITION", "PRODUCER_FENCED", "REQUEST_TIMED_OUT"),
    *("SASL_AUTHENTICATION_FAILED", "TOPIC_AUTHORIZATION_FAILED", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
    "UNKNOWN_TOPIC_OR_PART",
)
"""librdkafka's names of the errors that have their own counter."""
JOURNAL, OTHER = "journal", "other"

CONSENT_OUTCOMES = ("applied", "malformed")
DAMAGE = ("torn_bytes", "corrupt_lines", "missing_bytes")

NAMES = [
    *(f"{word} {journal}" for word in ("batches", "shipped_events") for journal in SHIPPED),
    *(f"delivery_errors {code}" for code in (*CODES, JOURNAL, OTHER)),
    "undeliverable",
    "rejections_dropped share",
    "rejections_dropped oldest",
    *(f"{histogram} {slot}" for histogram in HISTOGRAMS for slot in (*BOUNDS, SUM)),
    *(f"consent_records {outcome}" for outcome in CONSENT_OUTCOMES),
    "consent_withheld",
    *(f"journal_damage {kind}" for kind in DAMAGE),
    "unready",
    "inline",
    *(f"stalled_seconds {journal}" for journal in SHIPPED),
]

_counters = Counters(NAMES)


def begin() -> Counters:
    """The counters of this process: in a file if ``pixelcore serve`` serves metrics, otherwise in memory."""
    global _counters
    directory = os.environ.get(DIRECTORY)
    if directory is not None:
        try:
            _counters = Counters(NAMES, Path(directory, f"{uuid.uuid4()}{SUFFIX}"))
        except OSError as error:
            log.error("the metrics do not include this worker, whose counters cannot be written: %s", error)
    return _counters


def shipped(journal: str, events: int) -> None:
    """Count a batch of a kind of journals, and its events."""
    _counters.add(f"batches {journal}")
    _counters.add(f"shipped_events {journal}", events)


def delivery_failed(code: str) -> None:
    """Count an error of a delivery by librdkafka's name, or as `JOURNAL` if it is not Kafka's."""
    _counters.add(f"delivery_errors {code if code in (*CODES, JOURNAL) else OTHER}")


def undeliverable(code: str) -> None:
    """Count an event that its topic refuses, and the error of its delivery."""
    delivery_failed(code)
    _counters.add("undeliverable")


def unkept(share: int, oldest: int) -> None:
    """Count records of rejected requests that are not kept: those beyond a share, and the oldest."""
    _counters.add("rejections_dropped share", share)
    _counters.add("rejections_dropped oldest", oldest)


def consent_records(applied: int, malformed: int) -> None:
    """Count records of the consent topic: applied and malformed ones."""
    for outcome, count in zip(CONSENT_OUTCOMES, (applied, malformed), strict=True):
        _counters.add(f"consent_records {outcome}", count)


def damaged(torn: int, corrupt: int, missing: int) -> None:
    """Count the parts of journals that cannot be read: bytes of torn lines, corrupt lines, and bytes of missing segments."""
    for kind, count in zip(DAMAGE, (torn, corrupt, missing), strict=True):
        _counters.add(f"journal_damage {kind}", count)


def withheld(events: int) -> None:
    """Count events that were not shipped, because they arrived after their persons' withdrawals."""
    _counters.add("consent_withheld", events)


def ready(is_ready: bool) -> None:
    """Set whether new events are safe in this worker."""
    _counters.set("unready", not is_ready)


def stalled(journal: str, seconds: float) -> None:
    """Set the seconds for which nothing of a kind has reached Kafka although there is something to ship."""
    _counters.set(f"stalled_seconds {journal}", int(seconds))


def inline(is_inline: bool) -> None:
    """Set whether requests are answered inline, and not by the event loop."""
    _counters.set("inline", is_inline)


@contextmanager
def timed(histogram: str) -> Iterator[None]:
    """Observe the duration of a block, unless it fails."""
    begun = time.perf_counter()
    yield
    observe(histogram, time.perf_counter() - begun)


def observe(histogram: str, seconds: float) -> None:
    """Count one duration in a histogram."""
    _counters.add(f"{histogram} {SUM}", int(seconds * 1e6))
    _counters.add(f"{histogram} {BOUNDS[bisect.bisect_left(BUCKETS, seconds)]}")
