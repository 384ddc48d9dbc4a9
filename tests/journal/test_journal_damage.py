"""Section 6 of the contract: any damage to a journal's files is counted, and the rest is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pixelcore import Journal, JournalError, JournalReader

from tests.support.journals import MANY, dead, event, numbers, read_all, segments


@pytest.mark.parametrize("tail", [b"{", b'{"n":3', event(3), b"\0" * 4096, b"\xff"])
def test_a_torn_last_line_is_counted_and_no_event(tmp_path: Path, tail: bytes) -> None:
    journal = dead(tmp_path, 3)
    with segments(journal)[-1].open("ab") as segment:
        segment.write(tail)
    reader = JournalReader(journal.path)
    assert numbers(read_all(reader)) == [0, 1, 2]
    assert reader.finished()
    assert reader.offset == journal.end
    reader.delete_journal()
    assert (reader.torn, reader.corrupt, reader.missing) == (len(tail), 0, 0)


NO_EVENTS: list[tuple[str, bytes]] = [
    ("garbage", b"\x00\xff\xfe garbage"),
    ("nothing", b""),
    ("half an object", b'{"n":1'),
    ("more than an object", b'{"n":1}}'),
    ("two objects", b'{"n":1}{"n":2}'),
    ("a string", b'"n"'),
    ("a number", b"1"),
    ("null", b"null"),
    ("an array", b"[1,2]"),
    ("an array of as many strings as a key has sources", b'["a","b"]'),
    ("an empty array", b"[]"),
    ("a string that is not UTF-8", b'{"n":1,"x":"\xff"}'),
]


@pytest.mark.parametrize("line", [pytest.param(row[1], id=row[0]) for row in NO_EVENTS])
def test_a_corrupt_line_is_counted_and_the_rest_read(tmp_path: Path, line: bytes) -> None:
    with Journal(tmp_path) as journal:
        journal.append(event(0))
        journal.append(line)
        journal.append(event(2))
    reader = JournalReader(journal.path)
    assert read_all(reader) == [event(0), event(2)]
    assert (reader.torn, reader.corrupt, reader.missing) == (0, 1, 0)
    assert reader.offset == journal.end


@pytest.mark.parametrize("max_bytes", [1, 100, 100_000])
def test_an_event_behind_any_damage_is_found(tmp_path: Path, max_bytes: int) -> None:
    """Nothing read means nothing there: at least one event, if there is one."""
    with Journal(tmp_path, segment_bytes=50_000) as journal:
        for _ in range(5000):
            journal.append(b"x" * 99)
        journal.append(event(1))
    reader = JournalReader(journal.path)
    assert numbers(reader.lines(10, max_bytes)) == [1]
    assert reader.corrupt == 5000


@pytest.mark.parametrize("remains", [b"{", b'{"n":', b"x" * 10_000, event(9) + b"\n"])
def test_remains_of_a_failed_write(tmp_path: Path, remains: bytes) -> None:
    """A torn line that could not be cut off is after the next segment's offset."""
    journal = dead(tmp_path, 30)
    with segments(journal)[0].open("ab") as segment:
        segment.write(remains)
    for batch in (1, 1000):
        reader = JournalReader(journal.path)
        found: list[bytes] = []
        while more := reader.lines(batch, MANY):
            found += more
        assert numbers(found) == list(range(30))
        assert (reader.torn, reader.corrupt, reader.missing) == (len(remains), 0, 0)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_missing_segment_is_counted(tmp_path: Path, which: int) -> None:
    journal = dead(tmp_path, 60)
    gone = segments(journal)[which]
    lost, size = numbers(gone.read_bytes().splitlines()), gone.stat().st_size
    gone.unlink()
    reader = JournalReader(journal.path)
    assert numbers(read_all(reader)) == [number for number in range(60) if number not in lost]
    assert (reader.torn, reader.corrupt, reader.missing) == (0, 0, size)
    assert reader.offset == journal.end


def test_a_truncated_segment_is_counted(tmp_path: Path) -> None:
    """As a power cut leaves it: half a line is torn, the rest up to the next segment missing."""
    journal = dead(tmp_path, 60)
    victim = segments(journal)[1]
    lines = victim.read_bytes().splitlines(keepends=True)
    kept = len(lines[0]) + 10
    missing = victim.stat().st_size - kept
    os.truncate(victim, kept)
    reader = JournalReader(journal.path)
    lost = numbers(lines[1:])
    assert numbers(read_all(reader)) == [number for number in range(60) if number not in lost]
    assert (reader.torn, reader.corrupt, reader.missing) == (10, 0, missing)


@pytest.mark.parametrize("beyond", [1, 1000, 2**62])
def test_an_offset_beyond_the_end(tmp_path: Path, beyond: int) -> None:
    """A power cut can leave a file shorter than what was already shipped."""
    journal = dead(tmp_path, 10)
    reader = JournalReader(journal.path, journal.end + beyond)
    assert reader.lines(10, MANY) == []
    assert not reader.wait(0)
    assert reader.finished()
    assert (reader.torn, reader.corrupt, reader.missing) == (0, 0, 0)


def the_segment(journal: Path) -> None:
    segments(journal)[-1].unlink()


def the_lock(journal: Path) -> None:
    (journal / "lock").unlink()


def all_files(journal: Path) -> None:
    for path in journal.iterdir():
        path.unlink()


def the_journal(journal: Path) -> None:
    shutil.rmtree(journal)


def the_root(journal: Path) -> None:
    shutil.rmtree(journal.parent)


def replaced(journal: Path) -> None:
    """As an editor does that writes a new file and renames it."""
    (journal / "new").write_bytes(b"edited\n")
    (journal / "new").replace(segments(journal)[-1])


@pytest.mark.parametrize("remove", [the_segment, the_lock, all_files, the_journal, the_root, replaced])
def test_what_is_removed_under_the_writer_is_put_back(tmp_path: Path, remove: Callable[[Path], None]) -> None:
    with Journal(tmp_path / "events", segment_bytes=1000) as journal:
        assert journal.repair() is None
        for number in range(25):
            journal.append(event(number, 100))
        assert journal.repair() is None
        path = Path(journal.path)
        first = numbers(segments(path)[-1].read_bytes().splitlines())[0]
        early = JournalReader(path)
        assert len(early.lines(MANY, MANY)) == 25
        remove(path)
        journal.append(event(25, 100))  # before anybody has noticed
        told = journal.repair()
        assert (told is None) == (remove is the_lock), "only lines are worth a word"
        assert told is None or (" was removed: " in told and str(path) in told)
        assert journal.repair() is None
        assert JournalReader(path).live
        for number in range(26, 60):
            journal.append(event(number, 100))
        journal.sync()
        # A reader that has the removed file open goes on, and one that comes later finds what was in it.
        assert numbers(read_all(early)) == list(range(25, 60))
        late = JournalReader(path)
        found = numbers(read_all(late))
    kept = first if remove in (all_files, the_journal, the_root) else 0
    assert found == list(range(kept, 60))
    assert (late.missing > 0) == (kept > 0)
    assert (late.torn, late.corrupt) == (0, 0)


@pytest.mark.parametrize("left", [0, 150])
def test_a_segment_that_is_cut_off_under_the_writer(tmp_path: Path, left: int) -> None:
    """As ``: > file`` does. Its lines are gone, but none that comes goes astray."""
    with Journal(tmp_path) as journal:
        for number in range(10):
            journal.append(event(number, 100))
        before = journal.end
        os.truncate(segments(journal)[0], left)
        told = journal.repair()
        assert told is not None
        assert f"has {left} bytes, but {before} were written" in told
        assert journal.repair() is None
        for number in range(10, 20):
            journal.append(event(number, 100))
    reader = JournalReader(journal.path)
    assert numbers(read_all(reader)) == [*range(left // 100), *range(10, 20)]
    assert reader.torn + reader.missing == before - (left // 100) * (len(event(0, 100)) + 1)


def test_a_place_where_nothing_can_be_put_back(tmp_path: Path) -> None:
    """The failure is reported, no line is lost meanwhile, and the next try succeeds."""
    with Journal(tmp_path / "events") as journal:
        journal.append(event(0))
        shutil.rmtree(tmp_path / "events")
        (tmp_path / "events").write_text("in the way")
        with pytest.raises(JournalError, match="events"):
            journal.repair()
        journal.append(event(1))
        (tmp_path / "events").unlink()
        assert journal.repair() is not None
        assert numbers(read_all(JournalReader(journal.path))) == [0, 1]
