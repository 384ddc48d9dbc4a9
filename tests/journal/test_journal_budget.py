"""Section 6 of the contract: what a full budget or file system does to a journal."""

from __future__ import annotations

import multiprocessing
import resource
import signal
from pathlib import Path
from typing import Literal

import pytest
from pixelcore import Journal, JournalFull, JournalReader

from tests.support.journals import dead, event, numbers, read_all, segments, small_file_system, start_of, total


def test_the_budget_refuses(tmp_path: Path) -> None:
    """All journals of a root share one byte budget, and no earlier line is dropped."""
    old = dead(tmp_path, 10, size=100)
    budget = total(tmp_path) + 1000
    with Journal(tmp_path, max_bytes=budget) as journal:
        accepted = 0
        while journal.end + len(event(accepted, 100)) < 1000:
            journal.append(event(accepted, 100))
            accepted += 1
        with pytest.raises(JournalFull, match=str(budget)):
            journal.append(event(accepted, 100))
        assert 0 < accepted < 20
        assert budget - 101 < total(tmp_path) <= budget
        assert journal.measure() == total(tmp_path)
        journal.append(b"{}")  # a shorter one may still fit
        JournalReader(old.path).delete_journal()
        assert journal.measure() == total(tmp_path)
        journal.append(event(accepted, 100))
        assert len(read_all(JournalReader(journal.path))) == accepted + 2


def test_the_budget_sees_siblings(tmp_path: Path) -> None:
    with Journal(tmp_path, max_bytes=10_000) as one, Journal(tmp_path, max_bytes=10_000) as other:
        while one.end < 9_000:
            one.append(event(0, 100))
        assert other.measure() == one.end
        with pytest.raises(JournalFull):
            other.append(event(0, 2000))


@pytest.mark.parametrize("size", [30, 1000, 4777, 8191, 9000])
def test_drop_oldest_keeps_the_newest_within_the_budget(tmp_path: Path, size: int) -> None:
    budget = 65_536
    dead(tmp_path, 100, size=500)
    with Journal(tmp_path, max_bytes=budget, when_full="drop_oldest") as journal:
        for number in range(300_000 // size):
            journal.append(event(number, size))
            assert total(tmp_path) <= budget
        reader = JournalReader(journal.path)
        kept = numbers(read_all(reader))
        last = 300_000 // size - 1
    assert kept == list(range(kept[0], last + 1)), "the newest, without a gap"
    assert total(tmp_path) > budget // 2, "and not fewer than need be"
    assert reader.missing == start_of(segments(journal)[0])
    assert list(tmp_path.iterdir()) == [Path(journal.path)], "the oldest journal went first"


def test_drop_oldest_refuses_what_would_never_fit(tmp_path: Path) -> None:
    with Journal(tmp_path, max_bytes=65_536, when_full="drop_oldest") as journal:
        journal.append(event(0))
        with pytest.raises(JournalFull):
            journal.append(event(1, 70_000))
        journal.append(event(2))
        assert numbers(read_all(JournalReader(journal.path))) == [0, 2]


def test_drop_oldest_spares_living_siblings(tmp_path: Path) -> None:
    """A writer's open segment stays. Otherwise its lines would go into a file without a name."""
    with Journal(tmp_path, max_bytes=65_536, when_full="drop_oldest") as sibling:
        sibling.append(event(0))
        dead(tmp_path, 2000).close()
        with Journal(tmp_path, max_bytes=65_536, when_full="drop_oldest") as journal:
            journal.append(event(1))
        sibling.append(event(2))
        assert numbers(read_all(JournalReader(sibling.path))) == [0, 2]


def exhaust(root: Path, segment_bytes: int, kind: Literal["tmpfs", "rlimit"]) -> None:
    """Append until the file system or the limit of a file's size says no, make room, and go on."""
    filler = root / "filler"
    if kind == "tmpfs":
        filler.write_bytes(bytes(16_384))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_001, resource.RLIM_INFINITY))
        # Python ignores SIGXFSZ of its own accord; to be killed by it would be no answer.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Journal(root / "events", segment_bytes=segment_bytes) as journal:
        ends = [0]
        for _ in range(2):
            full = False
            while not full:
                try:
                    ends.append(journal.append(event(len(ends) - 1, 1000)))
                except JournalFull:
                    full = True
            # A failed append leaves no trace.
            assert journal.end == ends[-1] == sum(path.stat().st_size for path in segments(journal))
            assert all(path.read_bytes().endswith(b"\n") for path in segments(journal) if path.stat().st_size)
        if kind == "tmpfs":
            filler.unlink()
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        ends.append(journal.append(event(len(ends) - 1, 1000)))
    reader = JournalReader(journal.path)
    assert numbers(read_all(reader)) == list(range(len(ends) - 1))
    assert len(ends) > 20
    assert (reader.torn, reader.corrupt, reader.missing) == (0, 0, 0)


@pytest.mark.parametrize("segment_bytes", [10_000, 2**20])
def test_a_full_file_system(tmp_path: Path, segment_bytes: int) -> None:
    """Where mounting is not permitted, the limit of a file's size is the same to a writer."""
    with small_file_system(tmp_path / "tiny", "64k") as mounted:
        if mounted:
            exhaust(tmp_path / "tiny", segment_bytes, "tmpfs")
        else:
            limited(tmp_path)


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    limited(tmp_path)


def limited(root: Path) -> None:
    """`exhaust` in a process of its own, for the limit is the whole process's."""
    process = multiprocessing.get_context("spawn").Process(target=exhaust, args=(root, 2**20, "rlimit"))
    process.start()
    process.join()
    assert process.exitcode == 0
