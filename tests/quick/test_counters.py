"""A worker's counters: their place, errors by name, and durations by bound."""

from __future__ import annotations

import struct
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from pixelcore._core import Counters
from pixelcore.observing import counters


def test_a_worker_without_a_counter_file_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk, say: the gateway matters more than its metrics."""
    monkeypatch.setenv(counters.DIRECTORY, str(tmp_path / "missing"))
    begun = counters.begin()
    before = begun.slots()["undeliverable"]
    counters.undeliverable("MSG_SIZE_TOO_LARGE")
    assert begun.slots()["undeliverable"] == before + 1
    assert "metrics" in caplog.text


def test_the_file_has_what_was_counted(tmp_path: Path) -> None:
    """To the last word. Names of several lengths, since the header before the words is padded."""
    for length in range(1, 9):
        path = tmp_path / str(length)
        counted = Counters(["x" * length], path)
        for number, name in enumerate(counted.slots()):
            counted.add(name, number)
        counted.set("x" * length, 2**64 - 1)
        header, _, words = path.read_bytes().partition(b"\n")
        names = header.decode().rstrip().split(",")
        assert dict(zip(names, struct.unpack(f"={len(names)}Q", words), strict=True)) == counted.slots()
        assert list(counted.slots().values()) == [*range(len(names) - 1), 2**64 - 1]


def test_counted_codes_are_librdkafkas() -> None:
    known = {KafkaError(code).name() for code in range(-200, 130)}
    assert set(counters.CODES) <= known
    before = Counter(counters.begin().slots())
    for code in ("_TRANSPORT", "_NO_SUCH_CODE", counters.JOURNAL):
        counters.delivery_failed(code)
    assert +(Counter(counters.begin().slots()) - before) == Counter(
        {"delivery_errors _TRANSPORT": 1, "delivery_errors other": 1, "delivery_errors journal": 1}
    )


SECONDS: list[tuple[str, float, str]] = [
    ("below the first bound", 0.0, "0.0005"),
    ("between", 0.003, "0.005"),
    ("on a bound", 0.5, "0.5"),
    ("above the last", 31.0, "+Inf"),
]


@pytest.mark.parametrize(("seconds", "bound"), [pytest.param(*row[1:], id=row[0]) for row in SECONDS])
def test_observations(monkeypatch: pytest.MonkeyPatch, seconds: float, bound: str) -> None:
    clock = iter((0.0, seconds))
    before = Counter(counters.begin().slots())
    with monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter", lambda: next(clock))
        with counters.timed("fsync_seconds"):
            pass
    after = Counter(counters.begin().slots())
    expected = Counter({f"fsync_seconds {bound}": 1, "fsync_seconds sum": int(seconds * 1e6)})
    assert after - before == +expected


CONSENT_RECORDS: list[tuple[str, int, int]] = [
    # name, records that were applied, malformed ones
    ("none", 0, 0),
    ("applied", 2, 0),
    ("malformed", 0, 3),
    ("more malformed ones than applied ones", 2, 3),
]


@pytest.mark.parametrize(("applied", "malformed"), [pytest.param(*row[1:], id=row[0]) for row in CONSENT_RECORDS])
def test_consent_records(monkeypatch: pytest.MonkeyPatch, applied: int, malformed: int) -> None:
    counted = Counters(counters.NAMES)
    monkeypatch.setattr(counters, "_counters", counted)
    counters.consent_records(applied, malformed)
    expected = Counter({"consent_records applied": applied, "consent_records malformed": malformed})
    assert +Counter(counted.slots()) == +expected
