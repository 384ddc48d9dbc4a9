"""The beginning and the end of a journal's shipping, its progress, and full batches."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pixelcore import JournalReader
from pixelcore.journals import JournalDirectory, adopt, journals
from pixelcore.shipping.journal_shipper import JournalShipper
from pixelcore.shipping.kafka import HaltedError

from tests.support.descriptors import descriptors
from tests.support.journals import dead, event, numbers, segments
from tests.support.topic_in_memory import FAILS, Outcome, Topic, claimed, destination, written

WAYS = [("exactly-once", "ExactlyOnce", False), ("at-least-once", "AtLeastOnce", None)]


@pytest.mark.parametrize(("chosen", "way", "may_be_lost"), WAYS)
def test_the_way_of_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, way: str, may_be_lost: bool | None
) -> None:
    opened: list[tuple[str, tuple[Any, ...]]] = []

    def way_of(name: str) -> Callable[..., str]:
        def open_it(*arguments: Any) -> str:
            opened.append((name, arguments))
            return "a delivery"

        return open_it

    for name in ("ExactlyOnce", "AtLeastOnce"):
        monkeypatch.setattr(f"pixelcore.shipping.journal_shipper.{name}", way_of(name))
    with written(tmp_path, 1) as journal:
        directory = JournalDirectory(Path(journal.path))
        to, _ = destination(tmp_path, delivery=chosen)
        shipper = JournalShipper(directory, to)
        shipper._committed = 7
        assert shipper._open() == "a delivery"  # type: ignore[comparison-overlap]
    ((name, arguments),) = opened
    assert (name, arguments[0], arguments[2]) == (way, to, directory)
    assert arguments[3:] == ((7,) if may_be_lost is None else (shipper._owner, 7, False))


def test_the_end_of_a_journal(tmp_path: Path) -> None:
    for journal_retain in (0.0, 3600.0):
        topic = Topic()
        with written(tmp_path, 10) as journal:
            directory = JournalDirectory(Path(journal.path))
            shipper, _ = claimed(journal, topic, tmp_path, journal_retain=journal_retain)
            assert shipper.step()
        assert not shipper.step()
        assert shipper.done
        assert directory.path.exists() == (journal_retain > 0)
        assert (directory.shipped_at is not None) == (journal_retain > 0)
        assert topic.closed == 1
        if journal_retain:
            lock = directory.claim()
            assert lock is not None, "and the lock is free again"
            os.close(lock)


def test_a_stop_in_between_releases_the_journal(tmp_path: Path) -> None:
    topic = Topic(iter([HaltedError()]))
    with written(tmp_path, 10) as journal:
        shipper, waited = claimed(journal, topic, tmp_path)
        assert shipper.step()
        lock = JournalDirectory(Path(journal.path)).claim()
        assert (lock is not None, topic.closed, topic.lines, waited.real) == (True, 1, [], [])
        os.close(lock or -1)


@pytest.mark.parametrize("torn", [b"", b'{"torn'])
def test_damage_is_told_when_it_is_met_and_in_all_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, torn: bytes
) -> None:
    topic = Topic()
    with written(tmp_path, 3) as journal:
        journal.append(b"[]")
        journal.append(event(3))
    path = segments(journal)[0]
    path.write_bytes(path.read_bytes() + torn)
    shipper, _ = claimed(journal, topic, tmp_path)
    with caplog.at_level(logging.WARNING, "pixelcore"):
        while not shipper.done:
            shipper.step()
    told = [record.message.partition(": ")[2] for record in caplog.records]
    assert told == [
        "0 bytes of a torn line, 1 corrupt lines, 0 bytes of missing segments so far",
        f"{len(torn)} bytes of a torn line, 1 corrupt lines, 0 bytes of missing segments in all",
    ]
    assert numbers(topic.lines) == [0, 1, 2, 3]


def test_where_there_is_no_damage_none_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with written(tmp_path, 3) as journal:
        pass
    shipper, _ = claimed(journal, Topic(), tmp_path)
    with caplog.at_level(logging.WARNING, "pixelcore"):
        while not shipper.done:
            shipper.step()
    assert caplog.messages == []


FULL: list[tuple[str, int, int, bool]] = [
    # name, events, bytes of each, whether the batch counts as full
    ("few small ones", 100, 100, False),
    ("as many as fit", 2500, 40, True),
    ("one less", 2499, 40, False),
    ("half the bytes", 45, 10_000, False),
    ("more than half the bytes", 46, 10_000, True),
]


@pytest.mark.parametrize(("count", "size", "is_full"), [pytest.param(*row[1:], id=row[0]) for row in FULL])
def test_full_batches(tmp_path: Path, count: int, size: int, is_full: bool) -> None:
    """A full batch is followed at once, and shows a large lag."""
    topic = Topic()
    with written(tmp_path, count, size) as journal:
        shipper, waited = claimed(journal, topic, tmp_path)
        shipper.pace._interval = 0.5
        assert shipper.step()
        assert topic.tries == [count]
        assert (shipper.pace.full_since is not None) == is_full
        journal.append(event(0))
        assert shipper.step()
        assert len(waited.real) == (0 if is_full else 1)
        assert shipper.pace.full_since is None
        shipper.close()


PROGRESS: list[tuple[str, Callable[[Path], list[Outcome]], bool]] = [
    ("it arrives", lambda _: [], False),
    ("it fails", lambda _: [FAILS], True),
    ("it arrives at last", lambda _: [FAILS, None], False),
]


@pytest.mark.parametrize(("outcomes", "stalls"), [pytest.param(*row[1:], id=row[0]) for row in PROGRESS])
def test_what_the_watch_sees(tmp_path: Path, outcomes: Callable[[Path], list[Outcome]], stalls: bool) -> None:
    chosen = outcomes(tmp_path)
    topic = Topic(chain(chosen))
    with written(tmp_path, 10) as journal:
        shipper, _ = claimed(journal, topic, tmp_path)
        for _ in range(max(1, len(chosen))):
            shipper.step()
        progress = shipper._to.progress
        assert (progress.stalled_seconds > 0) == stalls
        assert progress.doing.startswith(f"shipping journal {journal.id} from offset ")
        assert ("Local: Broker transport failure" in (progress.trouble or "")) == stalls
        shipper.close()


def test_a_file_of_lines_becomes_a_journal(tmp_path: Path) -> None:
    """As that of events that no topic took, when it is repaired."""
    root, lines = tmp_path / "events", tmp_path / "undeliverable.ndjson"
    older = dead(root, 1)
    before = descriptors(tmp_path)
    for number in range(3):
        lines.write_bytes(event(number) + b"\n")
        journal = adopt(root, lines)
        assert not lines.exists()
        assert JournalReader(journal.path).lines() == [event(number)]
        assert not journal.is_live
        lock = journal.claim()
        assert lock is not None, "anybody may ship it"
        os.close(lock)
        assert journals(root)[-1] == journal, "the newest"
    assert descriptors(tmp_path) == before
    assert journals(root)[0].id == older.id
