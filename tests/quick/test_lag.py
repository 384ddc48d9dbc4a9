"""The lag from the disk, compared with a naive count."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pixelcore import Journal, JournalReader
from pixelcore.journals import EVENTS, JournalDirectory
from pixelcore.observing import backlog
from pixelcore.observing.backlog import Backlog, BacklogScanner

from tests.support.descriptors import descriptors
from tests.support.journals import dead, segments


def test_lag_is_what_a_naive_count_finds(tmp_path: Path) -> None:
    """At every offset that can be committed, over many segments, with one scanner that remembers and one that does not."""
    root = tmp_path / EVENTS
    with Journal(root, segment_bytes=4096, max_bytes=2**30) as journal:
        path = Path(journal.path)
        ends = [0]
        for number in range(200):
            seconds = f"{number // 60:02}:{number % 60:02}"
            ends.append(
                journal.append(f'{{"receivedAt":"2026-01-01T00:{seconds}.500Z","x":"{"y" * number}"}}'.encode())
            )
        assert len(list(path.glob("*.ndjson"))) > 5
        scanner = BacklogScanner(root)
        for shipped, offset in enumerate(ends):
            JournalDirectory(path).commit(offset)
            expected = Backlog(
                bytes=ends[-1],
                lag_bytes=ends[-1] - offset,
                lag_events=200 - shipped,
                oldest=1767225600.5 + shipped if shipped < 200 else None,
            )
            assert scanner.scan() == BacklogScanner(root).scan() == expected
        assert BacklogScanner(root, ships=False).scan() == Backlog(bytes=ends[-1])

        # Segments that were shipped are deleted; those are not behind.
        JournalDirectory(path).commit(ends[150])
        JournalReader(path).delete_before(ends[150])
        found = scanner.scan()
        assert (found.lag_bytes, found.lag_events) == (ends[-1] - ends[150], 50)
        # More lines come.
        end = journal.append(b"{}")
        found = scanner.scan()
        assert (found.lag_bytes, found.lag_events) == (end - ends[150], 51)


LAGGING: list[tuple[str, dict[str, bytes], tuple[int, int, float | None]]] = [
    # name, files of a journal, lag in bytes and events, the oldest
    ("without a note", {f"{0:020}.ndjson": b"{}\n{}\n"}, (6, 2, None)),
    ("an empty note", {f"{0:020}.ndjson": b"{}\n", "committed": b""}, (3, 1, None)),
    ("a note beyond the end", {f"{0:020}.ndjson": b"{}\n", "committed": b"9"}, (0, 0, None)),
    ("all shipped and kept", {f"{0:020}.ndjson": b"{}\n", "shipped": b""}, (0, 0, None)),
    ("a torn line", {f"{0:020}.ndjson": b'{"receivedAt":"20'}, (17, 0, None)),
    ("no segment", {}, (0, 0, None)),
]


@pytest.mark.parametrize(("files", "expected"), [pytest.param(*row[1:], id=row[0]) for row in LAGGING])
def test_lag_of_odd_journals(tmp_path: Path, files: dict[str, bytes], expected: tuple[int, int, float | None]) -> None:
    journal = tmp_path / "019a3c1e-0000-7000-8000-000000000000"
    journal.mkdir()
    for name, content in files.items():
        (journal / name).write_bytes(content)
    found = BacklogScanner(tmp_path).scan()
    assert (found.lag_bytes, found.lag_events, found.oldest) == expected
    assert BacklogScanner(tmp_path / "missing").scan() == Backlog()


SEVERAL: list[tuple[str, list[tuple[int | None, bool]], tuple[int, int | None]]] = [
    # name, of each journal the second that its one event came at, if it says so, and whether it is shipped;
    # the lag in events, and the second of the oldest
    ("the older one first", [(10, False), (20, False)], (2, 10)),
    ("the older one last", [(20, False), (10, False)], (2, 10)),
    ("the oldest is shipped", [(10, True), (30, False), (20, False)], (2, 20)),
    ("one does not say", [(None, False), (20, False)], (2, 20)),
    ("the last does not say", [(20, False), (None, False)], (2, 20)),
    ("all are shipped", [(10, True), (20, True)], (0, None)),
]


@pytest.mark.parametrize(("journals", "expected"), [pytest.param(*row[1:], id=row[0]) for row in SEVERAL])
def test_lag_of_several_journals(
    tmp_path: Path, journals: list[tuple[int | None, bool]], expected: tuple[int, int | None]
) -> None:
    """A gateway has one journal per worker. Its lag is the wait of the oldest event."""
    for second, shipped in journals:
        with Journal(tmp_path) as journal:
            line = b"{}" if second is None else f'{{"receivedAt":"2026-01-01T00:00:{second}.000Z"}}'.encode()
            end = journal.append(line)
        if shipped:
            JournalDirectory(Path(journal.path)).commit(end)
    found = BacklogScanner(tmp_path).scan()
    events, second = expected
    assert (found.lag_events, found.oldest) == (events, None if second is None else 1767225600.0 + second)


def test_what_no_broker_takes(tmp_path: Path) -> None:
    assert backlog.undeliverable_bytes(tmp_path) == backlog.undeliverable_bytes(tmp_path / "missing") == 0
    (tmp_path / "undeliverable.ndjson").write_bytes(b"{}\n")
    assert backlog.undeliverable_bytes(tmp_path) == 3
    (tmp_path / "undeliverable-rejections.ndjson").write_bytes(b"{}\n{}\n")
    assert backlog.undeliverable_bytes(tmp_path) == 9
    assert backlog.undeliverable_bytes(tmp_path / "undeliverable.ndjson") == 0


def just_changed(journal: Path) -> None:
    """As a scan within a moment would find it. A slow machine may need longer."""
    later = time.time() + 3600
    os.utime(journal, (later, later))


def test_a_finished_segment_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each scrape would read the whole backlog again."""
    counted: list[str] = []
    count_lines = backlog._count_lines

    def count(segment: Path, offset: int) -> int:
        counted.append(segment.name)
        return count_lines(segment, offset)

    monkeypatch.setattr(backlog, "_count_lines", count)
    journal = dead(tmp_path, 60, 100, 1000)
    just_changed(Path(journal.path))
    names = [path.name for path in segments(journal)]
    assert len(names) > 5
    scanner = BacklogScanner(tmp_path)
    for expected in (names, names[-1:], names[-1:]):
        counted.clear()
        assert scanner.scan().lag_events == 60
        assert counted == expected


def minute_old(journal: Path) -> None:
    """As a scan would find it a minute later."""
    for path in (*journal.iterdir(), journal):
        os.utime(path, (path.stat().st_mtime - 60,) * 2)


def append_line(journal: JournalDirectory) -> None:
    with journal.segments()[-1].path.open("ab") as file:
        file.write(b"{}\n")


CHANGES: list[tuple[str, Callable[[JournalDirectory], object], bool]] = [
    # name, what becomes of a journal after a scan, whether it is looked into again
    ("nothing", lambda _: None, False),
    ("an event", append_line, True),
    ("a commit", lambda journal: journal.commit(30), True),
    ("it is shipped", lambda journal: journal.mark_shipped(), True),
    ("a segment is deleted", lambda journal: journal.segments()[0].path.unlink(), True),
    ("a new segment", lambda journal: (journal.path / f"{10**6:020}.ndjson").write_bytes(b"{}\n"), True),
]


@pytest.mark.parametrize(("change", "is_seen"), [pytest.param(*row[1:], id=row[0]) for row in CHANGES])
def test_only_journals_that_changed_are_looked_into(
    tmp_path: Path, change: Callable[[JournalDirectory], object], is_seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a directory of many would cost a scrape what it costs to read them all."""
    journals = [JournalDirectory(Path(dead(tmp_path, 60, 100, 1000).path)) for _ in range(3)]
    journals[1].commit(10)
    for journal in journals:
        minute_old(journal.path)
    scanner = BacklogScanner(tmp_path)
    first = scanner.scan()
    looked: list[str] = []
    look = BacklogScanner._look

    def noted(self: BacklogScanner, journal: JournalDirectory, known: dict[Path, int]) -> Any:
        looked.append(journal.id)
        return look(self, journal, known)

    monkeypatch.setattr(BacklogScanner, "_look", noted)
    change(journals[1])
    again = scanner.scan()
    assert looked == [journals[1].id] * is_seen
    assert again == BacklogScanner(tmp_path).scan()
    assert (again == first) is not is_seen


def test_a_segment_that_goes_during_a_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes count all the same, and the segments that were counted are not read again."""
    journal = dead(tmp_path, 60, 100, 1000)
    just_changed(Path(journal.path))
    names = [path.name for path in segments(journal)]
    count_lines, counted = backlog._count_lines, list[str]()

    def count(segment: Path, offset: int) -> int:
        counted.append(segment.name)
        if counted == names[:4]:
            raise FileNotFoundError
        return count_lines(segment, offset)

    monkeypatch.setattr(backlog, "_count_lines", count)
    scanner = BacklogScanner(tmp_path)
    assert scanner.scan().bytes == journal.end
    counted.clear()
    assert scanner.scan().lag_events == 60
    assert counted == names[3:]


def test_what_has_just_changed_is_looked_into_again(tmp_path: Path) -> None:
    """A change in the same tick of the file system's clock leaves the same time."""
    journal = JournalDirectory(Path(dead(tmp_path, 60, 100, 1000).path))
    just_changed(journal.path)
    scanner = BacklogScanner(tmp_path)
    scanner.scan()
    times = journal.path.stat()
    journal.segments()[0].path.unlink()
    os.utime(journal.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert scanner.scan() == BacklogScanner(tmp_path).scan()


def test_a_scan_leaves_no_descriptor(tmp_path: Path) -> None:
    """The committed offset, which changes with each batch, also does not."""
    journal = dead(tmp_path, 60, 100, 1000)
    directory = JournalDirectory(Path(journal.path))

    def scan() -> None:
        directory.commit(0)
        directory.mark_shipped()
        (directory.path / "shipped").unlink()
        BacklogScanner(tmp_path).scan()

    scan()
    before = descriptors(tmp_path)
    for _ in range(1000):
        directory.commit(0)
    for _ in range(10):
        scan()
    assert descriptors(tmp_path) == before
