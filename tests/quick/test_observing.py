"""Durations in histogram buckets, log lines for terminals and collectors, and repeated messages."""

from __future__ import annotations

import io
import logging
import logging.config
import sys

import pytest
from pixelcore._core import Counters
from pixelcore.observing import counters, log
from pixelcore.settings import Settings

BOUNDS = [
    "0.0005",
    "0.001",
    "0.0025",
    "0.005",
    "0.01",
    "0.025",
    "0.05",
    "0.1",
    "0.25",
    "0.5",
    "1",
    "2.5",
    "5",
    "10",
    "30",
    "+Inf",
]
"""As dashboards and recording rules name them: a change of one is a change of the metrics."""

OBSERVED: list[tuple[float, str]] = [
    (0.0, "0.0005"),
    (0.0005, "0.0005"),
    (0.00051, "0.001"),
    (0.001, "0.001"),
    (0.002, "0.0025"),
    (0.01, "0.01"),
    (0.0101, "0.025"),
    (0.1, "0.1"),
    (0.7, "1"),
    (2.5, "2.5"),
    (29.9, "30"),
    (30.1, "+Inf"),
    (1e6, "+Inf"),
]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counters:
    fresh = Counters(counters.NAMES)
    monkeypatch.setattr(counters, "_counters", fresh)
    return fresh


@pytest.mark.parametrize(("seconds", "bound"), OBSERVED)
def test_a_known_time_is_in_a_known_bucket(counts: Counters, seconds: float, bound: str) -> None:
    assert list(counters.BOUNDS) == BOUNDS
    assert list(counters.BUCKETS) == sorted(counters.BUCKETS) == [float(bound) for bound in BOUNDS[:-1]]
    counters.observe("fsync_seconds", seconds)
    bumped = {name: count for name, count in counts.slots().items() if count}
    assert bumped.pop("fsync_seconds sum", 0) == int(seconds * 1e6)
    assert bumped == {f"fsync_seconds {bound}": 1}


def test_what_failed_is_not_observed(counts: Counters, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    monkeypatch.setattr("pixelcore.observing.counters.time.perf_counter", lambda: now)
    with counters.timed("transaction_seconds"):
        now += 0.25
    with pytest.raises(OSError, match="EIO"), counters.timed("transaction_seconds"):
        raise OSError("EIO")
    bumped = {name: count for name, count in counts.slots().items() if count}
    assert bumped == {"transaction_seconds 0.25": 1, "transaction_seconds sum": 250_000}


COUNTED: list[tuple[str, list[object], dict[str, int]]] = [
    ("shipped", ["events", 7], {"batches events": 1, "shipped_events events": 7}),
    ("shipped", ["rejections", 2], {"batches rejections": 1, "shipped_events rejections": 2}),
    ("delivery_failed", ["_TRANSPORT"], {"delivery_errors _TRANSPORT": 1}),
    ("delivery_failed", ["journal"], {"delivery_errors journal": 1}),
    ("delivery_failed", ["_MADE_UP"], {"delivery_errors other": 1}),
    ("undeliverable", ["INVALID_RECORD"], {"delivery_errors INVALID_RECORD": 1, "undeliverable": 1}),
    ("unkept", [3, 4], {"rejections_dropped share": 3, "rejections_dropped oldest": 4}),
    ("damaged", [6, 1, 0], {"journal_damage torn_bytes": 6, "journal_damage corrupt_lines": 1}),
    ("ready", [False], {"unready": 1}),
    ("ready", [True], {}),
    ("inline", [True], {"inline": 1}),
    ("stalled", ["events", 61.9], {"stalled_seconds events": 61}),
]


@pytest.mark.parametrize(("call", "arguments", "expected"), COUNTED)
def test_counted(counts: Counters, call: str, arguments: list[object], expected: dict[str, int]) -> None:
    getattr(counters, call)(*arguments)
    assert {name: count for name, count in counts.slots().items() if count} == expected


class Stderr(io.StringIO):
    """One that is a terminal, or is not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


FORMATS: list[tuple[str, bool, bool]] = [
    # PIXELCORE_LOG_FORMAT, whether stderr is a terminal, whether lines are pretty
    ("auto", True, True),
    ("auto", False, False),
    ("pretty", True, True),
    ("pretty", False, True),
    ("json", True, False),
    ("json", False, False),
]


@pytest.mark.parametrize(("log_format", "is_terminal", "is_pretty"), FORMATS)
def test_lines(monkeypatch: pytest.MonkeyPatch, log_format: str, is_terminal: bool, is_pretty: bool) -> None:
    stderr = Stderr(is_terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    of_a_library = logging.getLogger("some.library")
    log.configure(Settings(log_format=log_format))  # type: ignore[arg-type]
    logging.getLogger("pixelcore").warning("a %s", "text")
    line = stderr.getvalue()
    assert line.startswith("{") != is_pretty, line
    assert ("a text" in line, line.count("\n")) == (True, 1)
    assert not of_a_library.disabled, "a library's logger is not silenced"


LEVELS: list[tuple[str, list[str]]] = [
    ("debug", ["debug", "info", "warning", "error"]),
    ("info", ["info", "warning", "error"]),
    ("warning", ["warning", "error"]),
    ("error", ["error"]),
]


@pytest.mark.parametrize(("log_level", "expected"), LEVELS)
def test_levels(monkeypatch: pytest.MonkeyPatch, log_level: str, expected: list[str]) -> None:
    stderr = Stderr(is_terminal=True)
    monkeypatch.setattr(sys, "stderr", stderr)
    log.configure(Settings(log_level=log_level))  # type: ignore[arg-type]
    for level in ("debug", "info", "warning", "error"):
        logging.getLogger("pixelcore").log(logging.getLevelName(level.upper()), level)
    assert [line.split()[-1] for line in stderr.getvalue().splitlines()] == expected
    stderr.truncate(0)
    logging.getLogger("pixelcore.kafka.reader").warning("heard by the producer, too")
    assert stderr.getvalue() == ""


def test_as_many_complaints_are_remembered_as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "KINDS", 3)
    once = log.Once()

    def passes(text: str) -> bool:
        return once.filter(logging.LogRecord("pixelcore", logging.ERROR, "", 0, text, None, None))

    assert [passes(text) for text in "abcabc"] == [True, True, True, False, False, False]
    assert [passes(text) for text in "dabcd"] == [True, True, True, True, True], "beyond that all is new"
