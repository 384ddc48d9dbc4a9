"""Lag, as the disk tells it, against a naive count."""

from __future__ import annotations

from pathlib import Path

import pytest
from pixelcore import Journal, JournalReader
from pixelcore.journals import EVENTS, JournalDirectory
from pixelcore.observing.backlog import Backlog, BacklogScanner


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
            assert scanner.scan(True) == BacklogScanner(root).scan(True) == expected
        assert scanner.scan(False) == Backlog(bytes=ends[-1])

        # Segments that were shipped are deleted; those are not behind.
        JournalDirectory(path).commit(ends[150])
        JournalReader(path).delete_before(ends[150])
        found = scanner.scan(True)
        assert (found.lag_bytes, found.lag_events) == (ends[-1] - ends[150], 50)
        # More lines come.
        end = journal.append(b"{}")
        found = scanner.scan(True)
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
    found = BacklogScanner(tmp_path).scan(True)
    assert (found.lag_bytes, found.lag_events, found.oldest) == expected
    assert BacklogScanner(tmp_path / "missing").scan(True) == Backlog()
