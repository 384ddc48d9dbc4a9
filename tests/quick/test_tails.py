"""``pixelcore tail`` on long journals, and its waits while there are no new events."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import pixelcore
import pytest
from pixelcore.commands import tail
from pixelcore.commands.records import Choice, Record
from pixelcore.journals import JournalDirectory

from tests.support.journals import segments

ALL = Choice(key=(), type=(), event=(), id=())


def line(number: int, size: int = 0) -> bytes:
    second = f"{number // 60 % 60:02}:{number % 60:02}"
    members = {"type": "page", "messageId": f"m{number}", "receivedAt": f"2026-01-01T00:{second}.000Z"}
    return json.dumps({**members, "pipelineKey": "k", "x": "x" * size}).encode()


def mids(records: list[Record]) -> list[str]:
    return [json.loads(record.line)["messageId"] for record in records]


def journal(data_dir: Path, numbers: range, size: int = 0, segment_bytes: int = 1 << 20) -> pixelcore.Journal:
    made = pixelcore.Journal(data_dir / "events", segment_bytes=segment_bytes)
    for number in numbers:
        made.append(line(number, size))
    return made


LASTS: list[tuple[str, int, list[int]]] = [
    # name, how many are wanted, which are shown of those of 0 to 9 and 10 to 14, which came at the same time as 5 to 9
    ("none", 0, []),
    ("one", 1, [14]),
    ("the last of all journals", 4, [11, 12, 13, 14]),
    ("more than one journal has", 12, [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]),
    ("more than there are", 99, list(range(15))),
]


@pytest.mark.parametrize(("count", "expected"), [pytest.param(*row[1:], id=row[0]) for row in LASTS])
def test_the_last_of_all_journals(tmp_path: Path, count: int, expected: list[int]) -> None:
    with journal(tmp_path, range(10)) as first, journal(tmp_path, range(10, 15)) as second:
        readers: dict[JournalDirectory, pixelcore.JournalReader] = {}
        found = tail.last_records(tmp_path / "events", count, readers, ALL)
        assert mids(found) == [f"m{number}" for number in expected]
        offsets = {found.id: reader.offset for found, reader in readers.items()}
        assert offsets == {first.id: first.end, second.id: second.end}, "they go on from there"


def test_no_more_is_read_than_the_last_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 GiB, it does not read the beginning."""
    monkeypatch.setattr(tail, "LAST_BYTES", 10_000)
    with journal(tmp_path, range(100), 1000, 4096) as long:
        directory = JournalDirectory(Path(long.path))
        wanted: list[Path] = []
        lines = segments(long)
        while sum(path.stat().st_size for path in wanted) < 10_000:
            wanted.append(lines.pop())
        found = mids(tail.last_records(tmp_path / "events", 99, {}, ALL))
        assert len(found) == sum(path.read_bytes().count(b"\n") for path in wanted)
        assert found[-1] == "m99"
        sizes = [segment.size for segment in directory.segments()]
        assert directory.start_of_last(1) == sum(sizes[:-1])
        assert directory.start_of_last(sizes[-1]) == sum(sizes[:-1])
        assert directory.start_of_last(sizes[-1] + 1) == sum(sizes[:-2])
        assert directory.start_of_last(sum(sizes)) == directory.start_of_last(sum(sizes) * 2) == 0


def open_files(directory: Path) -> list[str]:
    """The open files of this process in a directory."""
    found = [str(descriptor.readlink()) for descriptor in Path("/proc/self/fd").iterdir() if descriptor.is_symlink()]
    return [name for name in found if name.startswith(f"{directory}/") and name.endswith(".ndjson")]


def test_of_thousands_of_journals_none_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that crashes in a loop leaves more journals than a process may open files."""
    monkeypatch.setattr("pixelcore.commands.tail.time.sleep", lambda _: None)
    for number in range(20):
        journal(tmp_path, range(number, number + 1)).close()
    readers: dict[JournalDirectory, pixelcore.JournalReader] = {}
    assert tail.last_records(tmp_path / "events", 3, readers, ALL._replace(id=("nobody",))) == []
    assert (len(readers), open_files(tmp_path)) == (20, [])
    found = tail.new_records(tmp_path / "events", readers, ALL)
    with journal(tmp_path, range(20, 21)):
        assert mids(list(islice(found, 1))) == ["m20"]
        assert len(open_files(tmp_path)) == 2, "of the writer and of the reader"
    assert len(readers) == 1


def test_journals_without_a_late_write_are_not_read(tmp_path: Path) -> None:
    for numbers, written in ((range(3), 2.0), (range(1, 4), 3.0), (range(4, 7), 6.0)):
        with journal(tmp_path, numbers) as made:
            (segment,) = segments(made)
        os.utime(segment, (datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp() + written,) * 2)
    last = tail.last_records(tmp_path / "events", 3, {}, ALL)
    assert mids(last) == ["m4", "m5", "m6"]
    assert mids(tail.last_records(tmp_path / "events", 5, {}, ALL)) == ["m2", "m3", "m4", "m5", "m6"]


def test_what_comes_is_shown_and_nothing_is_waited_for_in_a_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps whenever there was nothing, and only then."""
    with journal(tmp_path, range(2)) as first:
        readers: dict[JournalDirectory, pixelcore.JournalReader] = {}
        tail.last_records(tmp_path / "events", 0, readers, ALL)
        slept: list[float] = []
        made: list[pixelcore.Journal] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 1:
                first.append(line(2))
            elif len(slept) == 3:
                made.append(journal(tmp_path, range(3, 5)))

        monkeypatch.setattr("pixelcore.commands.tail.time.sleep", sleep)
        found = tail.new_records(tmp_path / "events", readers, ALL)
        assert mids(list(islice(found, 1))) == ["m2"]
        first.append(line(9))
        assert (mids(list(islice(found, 1))), len(slept)) == (["m9"], 1), "what comes meanwhile is there at once"
        assert mids(list(islice(found, 2))) == ["m3", "m4"]
        assert slept == [tail.POLL_SECONDS] * 3
        made[0].close()


def test_what_is_chosen() -> None:
    lines = [line(0), b"no JSON", b'{"messageId":"mine"}', line(1).replace(b'"k"', b'"other"')]
    assert mids(tail.chosen_of(lines, ALL)) == ["m0", "m1"]
    assert mids(tail.chosen_of(lines, ALL._replace(key=("other",)))) == ["m1"]


def test_pretty_json_is_not_broken_into_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Or it could not be copied."""
    record = Record.read(line(0, 500))
    assert record is not None
    tail.printer(pretty=True)(record)
    shown = capsys.readouterr().out
    assert json.loads(shown) == json.loads(record.line)
    assert "x" * 500 in shown
    assert shown.startswith('{\n  "type": "page",\n')
