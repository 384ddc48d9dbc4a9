"""Section 6 of the contract: after a minute without progress the log, a metric and a notice say so."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from pixelcore.observing import counters
from pixelcore.observing.stalls import Progress, StallWatch, notices

from tests.support.waiting import wait_for


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def stalled_gauge() -> int:
    return counters._counters.slots()["stalled_seconds events"]


STEPS: list[tuple[str, list[str], float]] = [
    # what happens, ten seconds apart, and how long nothing has come of it by then
    ("nothing to do", [], 0.0),
    ("something is tried", ["tries"], 10.0),
    ("one thing after the other", ["tries", "tries", "tries"], 30.0),
    ("it fails again and again", ["tries", "fails", "tries", "fails"], 40.0),
    ("it succeeds", ["tries", "fails", "moves"], 0.0),
    ("it fails after a success", ["tries", "moves", "tries", "fails"], 20.0),
]


@pytest.mark.parametrize(("steps", "seconds"), [pytest.param(*row[1:], id=row[0]) for row in STEPS])
def test_progress(steps: list[str], seconds: float) -> None:
    clock = Clock()
    progress = Progress("events", clock)
    for step in steps:
        match step:
            case "tries":
                progress.tries("shipping")
            case "fails":
                progress.failed("refused")
            case _:
                progress.moved()
        clock.now += 10
    assert progress.stalled_seconds == seconds


def test_the_operator_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    idle, progress = Progress("events", clock), Progress("events", clock)
    watch = StallWatch(tmp_path, [idle, progress], clock)

    def look() -> list[str]:
        caplog.clear()
        watch.look()
        return [f"{record.levelname}: {record.message}" for record in caplog.records]

    with caplog.at_level(logging.INFO, "pixelcore"):
        assert look() == []
        progress.tries("claiming journal 7", hint="look at the brokers")
        clock.now += 59
        assert (look(), stalled_gauge(), notices(tmp_path)) == ([], 59, [])
        clock.now += 1
        text = "no events have reached Kafka for 60 s, claiming journal 7: look at the brokers"
        assert (look(), stalled_gauge()) == ([f"ERROR: {text}"], 60)
        (notice,) = notices(tmp_path)
        assert (notice.kind, notice.pid, notice.text) == ("events", os.getpid(), text)
        clock.now += 59
        assert look() == [], "once a minute"
        progress.failed("the password is wrong; look at SASL_*")
        clock.now += 1
        assert look() == [
            "ERROR: no events have reached Kafka for 120 s, claiming journal 7: the password is wrong; look at SASL_*"
        ]
        progress.moved()
        assert (look(), stalled_gauge(), notices(tmp_path)) == (["WARNING: events reach Kafka again"], 0, [])
        assert look() == []


def test_a_notice_of_a_dead_process_says_nothing(tmp_path: Path) -> None:
    clock = Clock()
    progress = Progress("events", clock)
    progress.tries("shipping")
    clock.now += 100
    StallWatch(tmp_path, [progress], clock).look()
    (file,) = (tmp_path / "stalls").iterdir()
    file.write_text(file.read_text().replace('"started": "', '"started": "9'))
    assert notices(tmp_path) == []
    file.write_text("no JSON")
    assert notices(tmp_path) == []


def test_the_watch_looks_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes back what it said of a process that ends."""
    monkeypatch.setattr("pixelcore.observing.stalls.ROUND_SECONDS", 0.01)
    clock = Clock()
    progress = Progress("events", clock)
    watch = StallWatch(tmp_path, [progress], clock)
    watch.stop()
    watch = StallWatch(tmp_path, [progress], clock)
    progress.tries("shipping")
    clock.now += 100
    watch.start()
    wait_for(lambda: bool(notices(tmp_path)), 30, "nobody looks")
    began = watch.is_alive()
    watch.stop()
    assert (began, watch.is_alive(), list((tmp_path / "stalls").iterdir())) == (True, False, [])


def test_the_longest_of_several_counts(tmp_path: Path) -> None:
    """A gateway has several threads of each kind."""
    clock = Clock()
    several = [Progress(kind, clock) for kind in ("events", "events", "events", "rejections")]
    for progress, ago in zip(several[:3], (10, 90, 70), strict=True):
        progress.tries(f"for {ago} s")
        progress._since = clock.now - ago
    StallWatch(tmp_path, several, clock).look()
    assert stalled_gauge() == 90
    assert [notice.text.partition(":")[0] for notice in notices(tmp_path)] == [
        "no events have reached Kafka for 90 s, for 90 s",
        "no events have reached Kafka for 70 s, for 70 s",
    ], "the oldest first"
