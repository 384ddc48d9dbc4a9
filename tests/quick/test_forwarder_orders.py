"""The journals that a forwarder ships, their order, and the journals that it leaves alone."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from pixelcore import Journal
from pixelcore.journals import JournalDirectory
from pixelcore.settings import Settings
from pixelcore.shipping import delivery, forwarder
from pixelcore.shipping.forwarder import FENCED_SECONDS, _AllJournals, _Orphans, _OwnJournal

from tests.support.journals import dead, event, numbers
from tests.support.topic_in_memory import Outcome, Topic, Waits, destination, kafka_error, shipper_to


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    """The topic of this test's forwarders."""
    topic = Topic()
    monkeypatch.setattr(forwarder, "JournalShipper", shipper_to(topic))
    return topic


def orphans(data_dir: Path, own: Journal | None = None, **settings: object) -> _Orphans:
    thread = _Orphans(
        Settings(data_dir=data_dir, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", own, lowers=False
    )
    thread.to, _ = destination(data_dir, **settings)
    return thread


def test_the_oldest_come_first(tmp_path: Path, topic: Topic) -> None:
    root = tmp_path / "events"
    journals = [dead(root, 3) for _ in range(5)]
    with Journal(root) as own, Journal(root) as living:
        for journal in (own, living):
            journal.append(event(0))
        thread = orphans(tmp_path, own)
        assert [journal.id for journal in thread._orphans()] == [journal.id for journal in journals]
        thread.ship_orphans()
        assert [journal for journal, _, _ in topic.opened] == [journal.id for journal in journals]
        assert numbers(topic.lines) == [0, 1, 2] * 5
        assert sorted(path.name for path in root.iterdir()) == sorted([own.id, living.id])
        thread.ship_orphans()
        assert len(topic.opened) == 5, "those that live are left to their own"
        thread.ship_orphans(frozenset(JournalDirectory(Path(journal.path)) for journal in journals))


def test_one_that_cannot_be_shipped_holds_up_no_other(tmp_path: Path, topic: Topic) -> None:
    root = tmp_path / "events"
    journals = [dead(root, 3) for _ in range(3)]
    topic.outcomes = iter([OSError(5, "EIO"), None, OSError(5, "EIO")])
    thread = orphans(tmp_path)
    thread.ship_orphans()
    assert [journal for journal, _, _ in topic.opened] == [journal.id for journal in journals]
    assert sorted(path.name for path in root.iterdir()) == [journals[0].id, journals[2].id]
    assert thread.to.progress.trouble == "[Errno 5] EIO", "which is told"
    assert thread.to.progress.stalled_seconds > 0
    thread.ship_orphans()
    assert list(root.iterdir()) == []
    assert thread.to.progress.stalled_seconds == 0.0


def test_who_is_told_to_stop_begins_no_other(tmp_path: Path, topic: Topic) -> None:
    dead(tmp_path / "events", 3)
    thread = orphans(tmp_path)
    thread.to.stopping.set()
    thread.ship_orphans()
    thread.ship()
    assert topic.opened == []


def test_a_journal_of_another_process_is_left_for_a_while(
    tmp_path: Path, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then shipped to its end, not a batch in each round."""
    root = tmp_path / "events"
    fenced, other = dead(root, 6000, 20, 1 << 20), dead(root, 3)
    topic.outcomes = iter([delivery.FencedError("somebody")])
    now = 1000.0
    monkeypatch.setattr("pixelcore.shipping.forwarder.time.monotonic", lambda: now)
    thread = orphans(tmp_path)
    thread.ship_orphans()
    assert [journal for journal, _, _ in topic.opened] == [fenced.id, other.id]
    assert (len(topic.lines), [path.name for path in root.iterdir()]) == (3, [fenced.id])
    lock = JournalDirectory(root / fenced.id).claim()
    assert lock is not None, "it is let go"
    os.close(lock)
    now += FENCED_SECONDS - 0.1
    thread.ship_orphans()
    assert len(topic.opened) == 2
    now += 0.1
    thread.ship_orphans()
    assert ([journal for journal, _, _ in topic.opened[2:]], len(topic.lines)) == ([fenced.id], 6003)
    assert list(root.iterdir()) == []


KEPT: list[tuple[str, bool, float, float, bool, bool]] = [
    # name, whether it is shipped, how long ago, PIXELCORE_JOURNAL_RETAIN, whether it is kept, whether it is there then
    ("not shipped", False, 7200, 3600, False, True),
    ("shipped a moment ago", True, 0, 3600, True, True),
    ("a minute ago", True, 60, 3600, True, True),
    ("nearly long enough ago", True, 3300, 3600, True, True),
    ("long enough ago", True, 3601, 3600, True, False),
    ("not wanted any more", True, 0, 0, True, False),
]


@pytest.mark.parametrize(
    ("shipped", "ago", "journal_retain", "is_kept", "is_there"), [pytest.param(*row[1:], id=row[0]) for row in KEPT]
)
def test_journals_that_are_only_kept(
    tmp_path: Path, topic: Topic, shipped: bool, ago: float, journal_retain: float, is_kept: bool, is_there: bool
) -> None:
    path = Path(dead(tmp_path / "events", 3).path)
    if shipped:
        JournalDirectory(path).mark_shipped()
        os.utime(path / "shipped", (time.time() - ago,) * 2)
    thread = orphans(tmp_path, journal_retain=journal_retain)
    assert thread.is_kept(JournalDirectory(path)) == is_kept
    assert path.exists() == is_there
    if is_there:
        thread.ship_orphans()
        assert len(topic.lines) == (0 if shipped else 3)


LEFT: list[tuple[str, list[Outcome], bool, int]] = [
    # name, what becomes of the batches, whether all is shipped, how many lines arrive
    ("all arrives", [], True, 5),
    ("a failure of Kafka's passes", [kafka_error(), kafka_error()], True, 5),
    ("journals that cannot be read stay", [OSError(5, "EIO")] * 9, False, 0),
]


@pytest.mark.parametrize(("outcomes", "finished", "lines"), [pytest.param(*row[1:], id=row[0]) for row in LEFT])
def test_all_journals_to_their_end(
    tmp_path: Path, topic: Topic, outcomes: list[Outcome], finished: bool, lines: int
) -> None:
    """``pixelcore forward`` without ``--follow``: dead and living ones, and then it is finished."""
    dead(tmp_path / "events", 3)
    topic.outcomes = iter(outcomes)
    with Journal(tmp_path / "events") as living:
        for number in range(2):
            living.append(event(number))
        thread = _AllJournals(
            Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", follow=False
        )
        thread.to, _ = destination(tmp_path)
        thread.ship()
        assert (thread.finished, len(topic.lines)) == (finished, lines)
        lock = JournalDirectory(Path(living.path)).claim()
        assert lock is not None
        os.close(lock)


class Pauses(Waits):
    """Waits that take their time."""

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(timeout or 0.0)
        return super().wait(timeout)


class Three(Waits):
    """Waits, the third of which stops a forwarder."""

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__()
        self._stopping = stopping

    def wait(self, timeout: float | None = None) -> bool:
        if len(self.seconds) == 2:
            self._stopping.set()
        return super().wait(timeout)


def test_who_follows_waits_where_nobody_writes(tmp_path: Path, topic: Topic) -> None:
    """It does not look without a pause."""
    thread = _AllJournals(
        Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", follow=True
    )
    thread.to, _ = destination(tmp_path)
    thread.to.halted = waited = Three(thread.to.stopping)
    with Journal(tmp_path / "events"):
        thread.ship()
    assert (waited.seconds, thread.finished, topic.lines) == ([0.1] * 3, False, [])


def test_who_follows_waits_for_the_next_event_where_somebody_writes(tmp_path: Path, topic: Topic) -> None:
    thread = _AllJournals(
        Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", follow=True
    )
    thread.to, waited = destination(tmp_path)

    def end() -> None:
        while not topic.lines:
            time.sleep(0.001)
        time.sleep(0.3)
        thread.to.stopping.set()

    ending = threading.Thread(target=end)
    with Journal(tmp_path / "events") as living:
        living.append(event(0))
        ending.start()
        thread.ship()
        ending.join()
    assert (waited.real, thread.finished, len(topic.lines)) == ([], False, 1)


def test_a_journal_that_somebody_else_ships_is_not_finished(tmp_path: Path, topic: Topic) -> None:
    journal = dead(tmp_path / "events", 3)
    lock = JournalDirectory(Path(journal.path)).claim()
    thread = _AllJournals(
        Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", follow=False
    )
    thread.to, _ = destination(tmp_path)
    thread.ship()
    assert (thread.finished, topic.opened) == (False, [])
    os.close(lock or -1)
    thread.ship()
    assert (thread.finished, len(topic.lines)) == (True, 3)


def test_a_worker_ships_its_own_until_it_is_closed(tmp_path: Path, topic: Topic) -> None:
    with Journal(tmp_path / "events") as own:
        thread = _OwnJournal(Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", own)
        thread.to, _ = destination(tmp_path)
        own.append(event(0))

        def stop() -> None:
            thread.to.stopping.set()
            own.close()

        closing = threading.Timer(0.05, stop)
        closing.start()
        thread.ship()
        closing.join()
    assert (numbers(topic.lines), list((tmp_path / "events").iterdir())) == ([0], [])


def test_a_worker_whose_time_is_over_lets_go(tmp_path: Path, topic: Topic) -> None:
    with Journal(tmp_path / "events") as own:
        thread = _OwnJournal(Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", own)
        thread.to, _ = destination(tmp_path)
        own.append(event(0))

        def halt() -> None:
            while not topic.lines:
                time.sleep(0.001)
            thread.to.halted.set()

        halting = threading.Thread(target=halt)
        halting.start()
        thread.ship()
        halting.join()
        lock = JournalDirectory(Path(own.path)).claim()
        assert (lock is not None, topic.closed) == (True, 1)
        os.close(lock or -1)


def test_a_worker_without_an_event_has_nothing_to_ship(tmp_path: Path, topic: Topic) -> None:
    with Journal(tmp_path / "events") as own:
        thread = _OwnJournal(Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", own)
        thread.to, _ = destination(tmp_path)
        thread.to.stopping.set()
        thread.ship()
    assert topic.opened == []


def test_a_worker_whose_journal_was_taken_begins_another_one(tmp_path: Path, topic: Topic) -> None:
    topic.outcomes = iter([delivery.FencedError("a copy")])
    with Journal(tmp_path / "events") as own:
        own.append(event(0))
        before = own.id
        thread = _OwnJournal(Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", own)
        thread.to, _ = destination(tmp_path)

        def go_on() -> None:
            while own.id == before:
                time.sleep(0.001)
            own.append(event(1))
            thread.to.stopping.set()
            own.close()

        closing = threading.Thread(target=go_on)
        closing.start()
        thread.ship()
        closing.join()
        assert [journal for journal, _, _ in topic.opened] == [before, own.id]
    assert topic.closed == 2
    assert numbers(topic.lines) == [1], "what only the old one has is for the orphans' thread"
    assert [path.name for path in (tmp_path / "events").iterdir()] == [before]


def test_who_follows_lets_go_of_a_journal_that_is_done(tmp_path: Path, topic: Topic) -> None:
    living = Journal(tmp_path / "events")
    living.append(event(0))
    thread = _AllJournals(
        Settings(data_dir=tmp_path, kafka={"bootstrap.servers": "127.0.0.1:1"}), "events", follow=True
    )
    thread.to, _ = destination(tmp_path)
    thread.to.halted = Pauses()

    def end() -> None:
        while not topic.lines:
            time.sleep(0.001)
        living.close()
        while Path(living.path).exists():
            time.sleep(0.001)
        time.sleep(0.15)
        thread.to.stopping.set()

    ending = threading.Thread(target=end)
    ending.start()
    thread.ship()
    ending.join()
    assert ([journal for journal, _, _ in topic.opened], numbers(topic.lines), topic.closed) == ([living.id], [0], 1)
