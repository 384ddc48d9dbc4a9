"""What a worker counts: where it counts, errors by name, and durations by bound."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from pixelcore import counters


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
