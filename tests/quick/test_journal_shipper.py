"""The state that shipping keeps: batches that grow again, waits that end, deleted segments, and the checkpoint."""

from __future__ import annotations

import os
import time
from itertools import repeat
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from pixelcore.journals import JournalDirectory
from pixelcore.observing import counters
from pixelcore.shipping.delivery import Event, OutdatedError, RefusedError

from tests.support.descriptors import descriptors
from tests.support.journals import event, numbers, segments
from tests.support.topic_in_memory import FAILS, Outcome, Topic, claimed, kafka_error, ship, written

BATCHES: list[tuple[str, list[Outcome], list[int], list[float]]] = [
    # name, what becomes of the first batches, how many events each of the first ones has, and what is waited for
    ("all is well", [], [2500, 2500, 2500], []),
    ("a failure", [FAILS], [2500, 1250, 2500, 2500], [0.1]),
    ("it grows again", [FAILS, FAILS, FAILS], [2500, 1250, 625, 312, 624, 1248, 2496], [0.1, 0.2, 0.4]),
    ("never beyond the most", [FAILS, None, None], [2500, 1250, 2500, 2500], [0.1]),
    ("another failure waits as the first", [FAILS, FAILS, None, FAILS], [2500, 1250, 625, 1250, 625], [0.1, 0.2, 0.1]),
    ("waits have an end", [FAILS] * 7, [2500, 1250, 625, 312, 156, 78, 39, 19], [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]),
    ("no fault of Kafka's", [OSError(5, "EIO")], [2500, 1250, 2500], [0.1]),
]


@pytest.mark.parametrize(("outcomes", "tries", "waits"), [pytest.param(*row[1:], id=row[0]) for row in BATCHES])
def test_batches_and_waits(tmp_path: Path, outcomes: list[Outcome], tries: list[int], waits: list[float]) -> None:
    topic = Topic(iter(outcomes))
    with written(tmp_path, 9000) as journal:
        shipper, waited = claimed(journal, topic, tmp_path)
        ship(
            shipper,
            topic,
            sum(
                count for count, outcome in zip(tries, [*outcomes, *repeat(None, 99)], strict=False) if outcome is None
            ),
        )
        assert topic.tries == tries
        assert waited.real == pytest.approx(waits)
        assert numbers(topic.lines) == list(range(len(topic.lines))), "in order, and none twice"
        shipper.close()


@pytest.mark.parametrize("lives", [True, False])
def test_nothing_is_awaited_from_a_writer_that_has_ended(tmp_path: Path, lives: bool) -> None:
    topic = Topic()
    with written(tmp_path, 3) as journal:
        if not lives:
            journal.close()
        shipper, waited = claimed(journal, topic, tmp_path, batch_interval=30.0)
        shipper.step()
        shipper.step()
        assert (len(topic.lines), shipper.done) == (3, not lives)
        assert waited.real == ([pytest.approx(30.0, abs=5.0)] if lives else [])
        shipper.close()


def refused(events: list[Event], *bad: int, is_known: bool = False) -> RefusedError:
    wrong = [(event, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)) for event in events if numbers([event[0]])[0] in bad]
    return RefusedError(wrong, [event for event in events if numbers([event[0]])[0] not in bad], is_known=is_known)


def test_what_a_topic_refuses_is_set_aside_without_waiting(tmp_path: Path) -> None:
    events: list[Event] = [(event(number, 40), None, 0, None) for number in range(10)]
    topic = Topic(iter([refused(events, 3, 7)]))
    with written(tmp_path, 10) as journal:
        shipper, waited = claimed(journal, topic, tmp_path)
        assert shipper.step()
        assert (topic.tries, waited.real) == ([10, 8], [])
        assert numbers(topic.lines) == [0, 1, 2, 4, 5, 6, 8, 9]
        kept = (tmp_path / "undeliverable.ndjson").read_bytes().splitlines()
        assert numbers(kept) == [3, 7]
        assert JournalDirectory(Path(journal.path)).committed == journal.end, "they are dealt with"
        shipper.close()


def test_what_was_refused_once_is_tried_again_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may have repaired the topic since its limits were looked at."""
    events: list[Event] = [(event(number, 40), None, 0, None) for number in range(3)]
    known = refused(events, 1, is_known=True)
    topic = Topic(iter([known, None, known, known]))
    now = 1000.0
    monkeypatch.setattr("pixelcore.shipping.journal_shipper.time.monotonic", lambda: now)
    with written(tmp_path, 3) as journal:
        shipper, waited = claimed(journal, topic, tmp_path)
        now += 60.0
        assert shipper.step()
        assert (topic.tries, len(topic.opened)) == ([3, 2], 1), "not yet"
        for number in range(3):
            journal.append(event(number, 40))
        now += 1.0
        assert shipper.step()
        assert (topic.tries, topic.closed, len(topic.lines)) == ([3, 2, 3], 1, 2), "its limits are looked at anew"
        assert shipper.step()
        assert topic.tries == [3, 2, 3, 3, 2], "and hold for another minute"
        assert waited.real == []
        shipper.close()


@pytest.mark.parametrize("journal_retain", [0.0, 3600.0])
def test_segments_of_a_living_journal_go_when_they_are_shipped(tmp_path: Path, journal_retain: float) -> None:
    """Or the budget fills while all is well with Kafka."""
    topic = Topic()
    with written(tmp_path, 300, 100, 4096) as journal:
        before = segments(journal)
        assert len(before) > 5
        shipper, _ = claimed(journal, topic, tmp_path, journal_retain=journal_retain)
        ship(shipper, topic, 300)
        if journal_retain:
            assert segments(journal) == before
        else:
            assert len(segments(journal)) <= 2
        assert not shipper.done, "its writer lives"
        shipper.close()


@pytest.mark.parametrize("outcomes", [[], [FAILS, FAILS]])
def test_damage_is_counted_once(tmp_path: Path, outcomes: list[Outcome]) -> None:
    """However often a batch is tried, and so its lines are read."""
    topic = Topic(iter(outcomes))
    before = counters._counters.slots()
    with written(tmp_path, 300, 100, 4096) as journal:
        first, second, *_ = segments(journal)
        lines = first.read_bytes().splitlines(keepends=True)
        first.write_bytes(b"".join([*lines[:5], b"\xff" * (len(lines[5]) - 1) + b"\n", *lines[6:]]))
        gone = second.read_bytes()
        second.unlink()
        shipper, _ = claimed(journal, topic, tmp_path)
        ship(shipper, topic, 300 - 1 - gone.count(b"\n"))
        shipper.close()
    after = counters._counters.slots()
    found = {kind: after[f"journal_damage {kind}"] - before[f"journal_damage {kind}"] for kind in counters.DAMAGE}
    assert found == {"torn_bytes": 0, "corrupt_lines": 1, "missing_bytes": len(gone)}


AGES: list[tuple[str, float, float, bool]] = [
    # name, PIXELCORE_JOURNAL_RETAIN, how old a segment is, whether it goes
    ("kept no longer than needed", 0.0, 0.0, True),
    ("younger", 3600.0, 60.0, False),
    ("nearly old enough", 3600.0, 3300.0, False),
    ("old enough", 3600.0, 3601.0, True),
    ("a week", 604_800.0, 86_400.0, False),
    ("a part of a second", 0.5, 60.0, True),
]


@pytest.mark.parametrize(("journal_retain", "age", "goes"), [pytest.param(*row[1:], id=row[0]) for row in AGES])
def test_retention_is_by_the_clock_of_the_file(tmp_path: Path, journal_retain: float, age: float, goes: bool) -> None:
    topic = Topic()
    with written(tmp_path, 100, 100, 4096) as journal:
        old = segments(journal)[:-1]
        for path in old:
            os.utime(path, (time.time() - age,) * 2)
        shipper, _ = claimed(journal, topic, tmp_path, journal_retain=journal_retain)
        ship(shipper, topic, 100)
        assert [path.exists() for path in old] == [not goes] * len(old)
        shipper.close()


@pytest.mark.parametrize("ends", ["it is closed", "it is killed"])
def test_a_restart_repeats_nothing(tmp_path: Path, ends: str) -> None:
    """At least once goes on from what is noted on the disk."""
    topic = Topic()
    with written(tmp_path, 100) as journal:
        directory = JournalDirectory(Path(journal.path))
        for count in (100, 101):
            shipper, _ = claimed(journal, topic, tmp_path)
            ship(shipper, topic, count)
            assert directory.committed == journal.end
            os.close(shipper._lock or -1) if ends == "it is killed" else shipper.close()
            journal.append(event(count, 40))
        assert numbers(topic.lines) == list(range(101)), "and none twice"
        assert topic.opened == [(directory.id, 0, False)] * 2


def test_an_empty_start_is_noted(tmp_path: Path) -> None:
    """Another process's commits are known here from then on, and the lag is also known."""
    with written(tmp_path, 2) as journal:
        directory = JournalDirectory(Path(journal.path))
        directory.commit(journal.end)
        topic = Topic()
        shipper, _ = claimed(journal, topic, tmp_path)
        assert not shipper.step()
        (directory.path / "committed").unlink()
        shipper._close_delivery()
        assert not shipper.step()
        assert (directory.committed, topic.lines) == (journal.end, [])
        shipper.close()


def test_a_long_life_leaves_nothing_open(tmp_path: Path) -> None:
    """After 1,000 batches as many descriptors as after 10, whatever went wrong in between."""
    topic = Topic(iter([FAILS if number % 7 == 0 else None for number in range(1_000)]))
    counted: dict[int, int] = {}
    with written(tmp_path, 0, segment_bytes=4096) as journal:
        journal.append(event(0))
        shipper, _ = claimed(journal, topic, tmp_path)
        while len(topic.tries) < 1_000:
            journal.append(event(len(topic.tries), 100))
            shipper.step()
            journal.sync()  # which lets go of the segments that are full
            counted[len(topic.tries)] = descriptors(tmp_path)
        assert counted[10] > 0
        assert counted[1_000] <= counted[10]
        assert len(segments(journal)) <= 2
        shipper.close()


SURVIVALS: list[tuple[str, bool, Exception, int, bool]] = [
    # name, whether the delivery says that it survived, what went wrong, how many deliveries are opened, whether it is stuck
    ("it was taken back", True, FAILS, 1, False),
    ("it was not", False, FAILS, 2, False),
    ("no fault of Kafka's", True, OSError(5, "EIO"), 2, True),
    ("an outdated one", False, OutdatedError(), 2, False),
]


@pytest.mark.parametrize(
    ("survives", "error", "opened", "stuck"), [pytest.param(*row[1:], id=row[0]) for row in SURVIVALS]
)
def test_what_goes_on_after_a_failure(
    tmp_path: Path, survives: bool, error: Exception, opened: int, stuck: bool
) -> None:
    topic = Topic(iter([None, error]), survives=survives)
    with written(tmp_path, 10) as journal:
        shipper, _ = claimed(journal, topic, tmp_path)
        assert shipper.step()
        begun = journal.end
        for number in range(10, 14):
            journal.append(event(number, 40))
        assert shipper.step() is not stuck
        assert (shipper.stuck, shipper.done) == (stuck, False)
        assert shipper.step()
        assert not shipper.stuck, "a success changes that back"
        assert numbers(topic.lines) == list(range(14))
        assert [offset for _, offset, _ in topic.opened] == [0, begun][:opened]
        assert topic.closed == opened - 1
        shipper.close()
        assert topic.closed == opened


def test_who_was_fenced_asks_whose_the_journal_is(tmp_path: Path) -> None:
    fenced = [
        kafka_error(code)
        for code in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)
    ]
    topic = Topic(iter([*fenced, None, FAILS]))
    with written(tmp_path, 3000) as journal:
        shipper, _ = claimed(journal, topic, tmp_path)
        ship(shipper, topic, 2000)
        assert [lost for _, _, lost in topic.opened] == [False, True, True, True, False], "not after a success"
        shipper.close()
