"""A worker between requests: readiness, flushes, log lines that appear once, and refused protocols."""

from __future__ import annotations

import asyncio
import logging
import math
from pathlib import Path
from typing import Any

import pytest
from pixelcore import Journal
from pixelcore._core import Collector, Counters, take_ignored_names
from pixelcore.app import App
from pixelcore.errors import JournalError, JournalFull
from pixelcore.observing import counters
from pixelcore.serving.housekeeping import SPARE_BYTES, Due, Housekeeper, Timetable
from pixelcore.serving.safety import NAMES, IgnoredNames, OutcomeReport, Safety
from pixelcore.serving.worker import Worker
from pixelcore.settings import Settings


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def unready() -> int:
    return counters._counters.slots()["unready"]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("pixelcore.observing.log.configure", lambda _: None)
    monkeypatch.setattr(counters, "_counters", Counters(counters.NAMES))
    loop = asyncio.new_event_loop()
    started = Worker(Settings(data_dir=tmp_path / "new" / "data"), loop, lambda *_: False)
    started._housekeeper.stop()  # it would find once a second that there is room again
    yield started
    started.stop()
    loop.close()


STATES: list[tuple[str, list[str], tuple[int, str], tuple[int, str]]] = [
    # name, what happens, what /readyz says, and /healthz
    ("all is well", [], (200, "ok\n"), (200, "ok\n")),
    ("no room", ["full"], (503, "events are being lost: there is no room\n"), (200, "ok\n")),
    ("anything else", ["defect"], (503, "events are being lost: see the log\n"), (200, "ok\n")),
    ("a failure of the device", ["EIO"], (503, "events are being lost: see the log\n"), (200, "ok\n")),
    ("it is over", ["full", "recovered"], (200, "ok\n"), (200, "ok\n")),
    ("it stops", ["part"], (503, "stopping\n"), (200, "ok\n")),
    ("it stops while there is no room", ["full", "part"], (503, "stopping\n"), (200, "ok\n")),
]


@pytest.mark.parametrize(("happens", "ready", "health"), [pytest.param(*row[1:], id=row[0]) for row in STATES])
def test_readiness(worker: Worker, happens: list[str], ready: tuple[int, str], health: tuple[int, str]) -> None:
    for what in happens:
        match what:
            case "full":
                worker.failed(JournalFull("events: 1 of 1 bytes are used"))
            case "EIO":
                worker.failed(JournalError("EIO"))
            case "defect":
                worker.failed(ValueError("defect"))
            case "recovered":
                worker._safety.recovered()
            case _:
                worker.part()
    assert (worker.readiness(), worker.health()) == (ready, health)
    assert unready() == int("full" in happens or "EIO" in happens or "defect" in happens) - int("recovered" in happens)


def test_who_parts_closes_each_connection(worker: Worker) -> None:
    assert (worker.plain, worker.parting, worker.headers("unknown_key", "; ignored=a")) == (True, [], [])
    worker.part()
    assert (worker.plain, worker.headers(None, "")) == (False, [("connection", "close")])
    worker.debug_header = True
    assert worker.headers(None, "") == [("connection", "close"), ("x-pixelcore", "accepted")]
    assert worker.headers("unknown_key", "; ignored=a")[-1] == ("x-pixelcore", "unknown_key; ignored=a")


class Dead:
    """A thread that ended."""

    def is_alive(self) -> bool:
        return False

    def stop(self, *_: object) -> None:
        pass


def test_a_thread_that_ended_is_told(worker: Worker) -> None:
    """Until the worker stops, when that is as it should be."""
    worker._key_watcher = Dead()  # type: ignore[assignment]
    assert worker.health() == (503, "the key file is no longer watched: see the log\n")
    worker._forwarder = Dead()  # type: ignore[assignment]
    assert worker.health() == (503, "the forwarder has stopped: see the log\n")
    worker.part()
    assert worker.health() == (200, "ok\n")


DUE: list[tuple[str, float, bool, list[tuple[float, Due]]]] = [
    # name, seconds between flushes, whether events are being lost, and what is due at which second
    (
        "together",
        1.0,
        False,
        [(0.5, Due(False, False)), (1.0, Due(True, True)), (1.9, Due(False, False)), (2.1, Due(True, True))],
    ),
    ("more often", 0.25, False, [(0.25, Due(True, False)), (0.4, Due(False, False)), (0.5, Due(True, False))]),
    ("less often", 60.0, False, [(1.0, Due(False, True)), (59.0, Due(False, True)), (60.0, Due(True, True))]),
    ("never", math.inf, False, [(1.0, Due(False, True)), (1e6, Due(False, True))]),
    ("a flush makes new ones safe again", 60.0, True, [(1.0, Due(True, True)), (1.5, Due(True, False))]),
    ("but not where nobody wants one", math.inf, True, [(1.0, Due(False, True))]),
]


@pytest.mark.parametrize(("seconds", "losing", "looks"), [pytest.param(*row[1:], id=row[0]) for row in DUE])
def test_timetable(seconds: float, losing: bool, looks: list[tuple[float, Due]]) -> None:
    timetable = Timetable(seconds, 100.0)
    for now, expected in looks:
        assert timetable.due(100.0 + now, losing) == expected, now


def test_it_waits_until_something_is_due() -> None:
    for seconds, first in ((0.25, 0.25), (1.0, 1.0), (60.0, 1.0), (math.inf, 1.0)):
        timetable = Timetable(seconds, 100.0)
        assert timetable.wait(100.0) == pytest.approx(first)
        assert timetable.wait(100.1) == pytest.approx(first - 0.1)
        assert timetable.wait(200.0) == 0.0
        timetable.due(100.0 + first, losing=False)
        assert timetable.wait(100.0 + first) > 0, "what is done is not due again"


def housekeeper(tmp_path: Path, **settings: Any) -> tuple[Housekeeper, Journal, Journal, Safety]:
    events = Journal(tmp_path / "events", segment_bytes=4096)
    rejections = Journal(tmp_path / "rejections", segment_bytes=4096, when_full="drop_oldest", max_bytes=2**16)
    openings, loads = (Journal(tmp_path / kind) for kind in ("openings", "loads"))
    collecting, safety = Collector(events, rejections), Safety()
    report = OutcomeReport(Counters([]))
    chosen = Settings(data_dir=tmp_path, **settings)
    return (
        Housekeeper(chosen, collecting, (events, rejections, openings, loads), safety, report, lambda: None),
        events,
        rejections,
        safety,
    )


def test_a_mended_journal_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper, events, rejections, _ = housekeeper(tmp_path)
    for journal in (events, rejections):
        journal.append(b"{}")
        segment = next(Path(journal.path).glob("*.ndjson"))
        segment.unlink()
        with caplog.at_level(logging.ERROR, "pixelcore"):
            keeper._make_a_round()
        assert caplog.messages == [f"journal {journal.id}: {segment} was removed: its 3 bytes are restored"]
        caplog.clear()
        assert segment.read_bytes() == b"{}\n"
    keeper._make_a_round()
    assert caplog.messages == []


ROOM: list[tuple[str, int, bool]] = [
    # name, the budget, whether there is room again
    ("as much as must be", SPARE_BYTES + 3, True),
    ("a byte less", SPARE_BYTES + 2, False),
]


@pytest.mark.parametrize(("budget", "recovers"), [pytest.param(*row[1:], id=row[0]) for row in ROOM])
def test_room_is_looked_for_while_events_are_lost(tmp_path: Path, budget: int, recovers: bool) -> None:
    keeper, events, _, safety = housekeeper(tmp_path, journal_max_bytes=budget)
    events.append(b"{}")
    safety.lost(JournalFull("full"))
    keeper._make_a_round()
    assert (safety.failure is None) == recovers
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "loads", "openings", "rejections"]


def test_a_device_that_takes_nothing_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, _, _, safety = housekeeper(tmp_path)
    safety.lost(JournalFull("full"))

    def fails(_: int) -> None:
        raise OSError(5, "EIO")

    with monkeypatch.context() as device:
        device.setattr("pixelcore.serving.housekeeping.os.fsync", fails)
        keeper._make_a_round()
    assert safety.failure is not None
    keeper._make_a_round()
    assert safety.failure is None


def test_what_is_not_kept_of_rejections_is_counted_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, _, rejections, _ = housekeeper(tmp_path)
    slots = counters._counters.slots
    counted, told = slots()["rejections_dropped oldest"], 0
    for most in (20, 30):
        while rejections.dropped < most:
            rejections.append(b'{"x":"' + b"x" * 1000 + b'"}')
        with caplog.at_level(logging.WARNING, "pixelcore"):
            keeper._make_a_round()
            keeper._make_a_round()
        # Names that mean nothing, which other tests have sent, are told of, too.
        (message,) = (message for message in caplog.messages if "records of rejected requests" in message)
        caplog.clear()
        assert message.startswith(f"{rejections.dropped - told} records of rejected requests were dropped"), message
        told = rejections.dropped
        assert slots()["rejections_dropped oldest"] - counted == told


def test_the_report_of_requests_without_an_event(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    counts = Counters([])
    report = OutcomeReport(counts, clock)

    def told() -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "pixelcore"):
            report.now_and_then()
        return caplog.messages

    assert told() == []
    counts.add("requests track missing_event", 2)
    counts.add("requests page lost", 1)
    counts.add("requests page accepted", 7)
    assert told() == ["requests that became no event: 1 lost, 2 missing_event"]
    counts.add("requests page missing_event", 3)
    clock.now += 59.0
    assert told() == [], "at most one a minute"
    clock.now += 1.0
    assert told() == ["requests that became no event: 3 missing_event"]
    clock.now += 60.0
    assert told() == [], "nothing is new"
    counts.add("quoted_printable kept", 2)
    (hint,) = told()
    assert hint.startswith("events with garbled values: 2 with values that begin with 3D")
    counts.add("requests page missing_key", 1)
    counts.add("quoted_printable decoded", 1)
    clock.now += 60.0
    (both,) = told()
    assert both.startswith("requests that became no event: 1 missing_key; 1 with a byte instead of = and two digits")


def unknown(count: int, start: int = 0) -> list[str]:
    """So many names that mean nothing."""
    return [f"n{number:03}" for number in range(start, start + count)]


NAMED: list[tuple[str, list[tuple[list[str], list[str]]]]] = [
    # name, the unknown names of each round's requests, and those that are logged then
    ("none", [([], [])]),
    ("each once", [(["b", "a"], ["a", "b"]), (["a"], []), ([], []), (["a", "c"], ["c"]), (["c", "b"], [])]),
    (
        "no more after so many",
        [
            *((unknown(20, start), unknown(20, start)) for start in range(0, NAMES - 20, 20)),
            (unknown(19, NAMES - 20), unknown(19, NAMES - 20)),
            (["last"], ["last"]),
            (["late"], []),
        ],
    ),
]


@pytest.mark.parametrize("rounds", [pytest.param(*row[1:], id=row[0]) for row in NAMED])
def test_unknown_names_are_told_once(
    tmp_path: Path, rounds: list[tuple[list[str], list[str]]], caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(Journal(tmp_path / "events"), Journal(tmp_path / "rejections"))
    take_ignored_names()  # those of other tests
    names = IgnoredNames()
    for sent, logged in rounds:
        collector.collect("page", "&".join(["wk=k", *(f"{name}=1" for name in sent)]), "192.0.2.1:1", ())
        caplog.clear()
        with caplog.at_level(logging.WARNING, "pixelcore"):
            names.now_and_then()
        text = "parameters with unknown names are left out of events: "
        assert [sorted(message.removeprefix(text).split(", ")) for message in caplog.messages] == (
            [[repr(name) for name in logged]] if logged else []
        )


class Socket:
    """A WebSocket as Granian hands it over."""

    def __init__(self) -> None:
        self.closed: list[int] = []

    def close(self, status: int) -> None:
        self.closed.append(status)


def test_a_websocket_is_refused_by_the_application() -> None:
    """Granian would also answer 403, but only after the handler's end, and would log it."""
    socket = Socket()
    asyncio.run(App().__rsgi__(None, socket))  # type: ignore[arg-type]
    assert socket.closed == [403]
