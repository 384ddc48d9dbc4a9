"""The threads of a forwarder: they start over after a defect, and ship at the right priority."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from pixelcore import Journal, SettingsError
from pixelcore.settings import Settings
from pixelcore.shipping.forwarder import NICENESS, Forwarder, _Orphans
from pixelcore.shipping.policies import Level, Priority

from tests.support.topic_in_memory import destination


def orphans(data_dir: Path) -> _Orphans:
    settings = Settings(data_dir=data_dir, kafka={"bootstrap.servers": "127.0.0.1:1"})
    return _Orphans(settings, "events", None, lowers=False)


DEFECTS: list[tuple[str, int, list[float]]] = [
    ("none", 0, []),
    ("one", 1, [1.0]),
    ("again and again", 7, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
]


@pytest.mark.parametrize(("defects", "waits"), [pytest.param(*row[1:], id=row[0]) for row in DEFECTS])
def test_a_defect_starts_over_later_and_later(tmp_path: Path, defects: int, waits: list[float]) -> None:
    thread = orphans(tmp_path)
    thread.to, waited = destination(tmp_path)
    left = defects

    def ship() -> None:
        nonlocal left
        if left:
            left -= 1
            raise RuntimeError("a defect")

    thread.ship = ship  # type: ignore[method-assign]
    thread.run()
    assert (left, waited.real) == (0, waits)
    assert (thread.to.progress.stalled_seconds > 0) == bool(defects)
    assert thread.to.progress.trouble == ("RuntimeError('a defect')" if defects else None)


def test_a_worker_that_is_behind_ships_in_another_thread(tmp_path: Path) -> None:
    """It ships at normal priority while its lag is large, and at low priority before and after that."""
    now = 1000.0
    thread = orphans(tmp_path)
    thread.to, _ = destination(tmp_path)
    thread._priority = Priority(lowers=True, clock=lambda: now)
    looks = iter([now, now, None, None])
    seen: list[tuple[str, int]] = []
    own = os.getpriority(os.PRIO_PROCESS, 0)

    def ship() -> None:
        nonlocal now
        niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) - own
        seen.append((threading.current_thread().name.rpartition(", ")[2], niceness))
        assert threading.current_thread().daemon or niceness == 0, "no end of a process waits for it"
        for full_since in looks:
            shipper = SimpleNamespace(pace=SimpleNamespace(full_since=full_since))
            now += 100.0
            thread.heed_priority(shipper)  # type: ignore[arg-type]

    thread.ship = ship  # type: ignore[method-assign]
    thread.run()
    usual = threading.current_thread().name
    lowered = min(NICENESS, 19 - own)  # there is nothing below that
    assert seen == [("low priority", lowered), (usual, 0), ("low priority", lowered)]


def test_a_priority_that_may_not_be_lowered_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pixelcore.shipping.forwarder.os.nice", refused)
    thread = orphans(tmp_path)
    thread._priority = Priority(lowers=True)
    shipped: list[str] = []
    thread.ship = lambda: shipped.append("all")  # type: ignore[method-assign]
    with caplog.at_level("WARNING", "pixelcore"):
        thread.run()
    assert shipped == ["all"]
    assert thread._priority.level is Level.NORMAL
    (told,) = caplog.messages
    assert "Operation not permitted" in told


def test_properties_that_would_never_ship_are_told_at_once(tmp_path: Path) -> None:
    wrong = Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1", "compression.type": "zip"})
    with pytest.raises(SettingsError, match=r"^PIXELCORE_KAFKA_COMPRESSION_TYPE: "):
        Forwarder(wrong)
    right = Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}, rejected_topic="rejected")
    kinds = {
        None: ["events", "rejections", "last-opens", "counts"],
        "own": ["events", "events", "rejections", "rejections", "last-opens", "counts"],
    }
    for whose, expected in kinds.items():
        own = (Journal(tmp_path / "events"), Journal(tmp_path / "rejections")) if whose else None
        forwarder = Forwarder(right, own=own)
        assert all(getattr(thread, "_follow", True) for thread in forwarder._threads), "unless it is told otherwise"
        assert [thread.to.kind for thread in forwarder._threads] == expected
        assert (forwarder.finished, forwarder.is_alive(), forwarder.stalled[0]) == (False, False, 0.0)
        assert [thread._priority.level for thread in forwarder._threads] == [
            Level.LOW if whose and sys.platform == "linux" else Level.NORMAL
        ] * len(expected)


class Still:
    """A thread that ends, or does not."""

    def __init__(self, alive: bool, finished: bool) -> None:
        self._alive, self.finished = alive, finished

    def join(self, seconds: float) -> None:
        assert seconds >= 0

    def is_alive(self) -> bool:
        return self._alive


TOGETHER: list[tuple[str, list[Still], bool, bool, bool]] = [
    # name, the threads, whether the forwarder has ended in time, is alive, and is finished
    ("all ship", [Still(True, False)] * 2, False, True, False),
    ("one has ended", [Still(True, False), Still(False, True)], False, False, False),
    ("all have ended", [Still(False, True)] * 2, True, False, True),
    ("one failed", [Still(False, True), Still(False, False)], True, False, False),
]


@pytest.mark.parametrize(
    ("threads", "ended", "alive", "finished"), [pytest.param(*row[1:], id=row[0]) for row in TOGETHER]
)
def test_threads_together(tmp_path: Path, threads: list[Still], ended: bool, alive: bool, finished: bool) -> None:
    forwarder = Forwarder(Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}))
    forwarder._threads = threads  # type: ignore[assignment]
    assert (forwarder.join(0.0), forwarder.is_alive(), forwarder.finished) == (ended, alive, finished)
