"""Section 6 of the contract, the journal alone: acknowledged lines are read back."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pixelcore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixelcore import Journal, JournalError, JournalFull, JournalReader

from tests.support.journals import MANY, dead, event, numbers, read_all, segments, start_of
from tests.support.waiting import wait_for


def test_append_and_read_back(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        ends = [journal.append(event(number)) for number in range(100)]
        assert ends == sorted(set(ends))
        assert journal.end == ends[-1]
        assert Path(journal.path) == tmp_path / journal.id
        reader = JournalReader(journal.path)
        assert numbers(read_all(reader)) == list(range(100))
        assert reader.offset == journal.end
        assert journal.sync() == journal.end
    assert (reader.torn, reader.corrupt, reader.missing) == (0, 0, 0)
    # Readable with `tail -f` and `jq`: nothing but the lines.
    assert segments(journal)[0].read_bytes() == b"".join(event(number) + b"\n" for number in range(100))


def test_identities_are_uuids_that_sort_by_age(tmp_path: Path) -> None:
    ids = [Journal(tmp_path).id for _ in range(100)]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", i) for i in ids)


def test_an_idle_journal_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    with Journal(root) as journal:
        assert (journal.end, journal.sync(), journal.measure()) == (0, 0, 0)
        reader = JournalReader(journal.path)
        assert reader.lines(1, 1) == []
        assert list(root.iterdir()) == []
    assert list(root.iterdir()) == []


def test_segments_are_named_by_their_offset(tmp_path: Path) -> None:
    """A segment ends before the line that would not fit any more, and the next one begins where it ends."""
    journal = dead(tmp_path, 100, size=90, segment_bytes=1000)
    offset = 0
    for segment in segments(journal):
        assert segment.name == f"{offset:020}.ndjson"
        content = segment.read_bytes()
        offset += len(content)
        assert content.endswith(b"\n")
        line = len(content.splitlines(keepends=True)[-1])
        assert len(content) <= 1000
        assert len(content) + line > 1000 or offset == journal.end
    assert offset == journal.end
    assert len(segments(journal)) > 5


def test_every_offset_that_was_given_is_one_to_read_from(tmp_path: Path) -> None:
    journal = dead(tmp_path, 50, segment_bytes=300)
    reader = JournalReader(journal.path)
    for number in range(51):
        again = JournalReader(journal.path, reader.offset)
        assert numbers(read_all(again)) == list(range(number, 50))
        assert (again.torn, again.corrupt, again.missing) == (0, 0, 0)
        reader.lines(1, 1)
    reader.seek(0)
    assert numbers(read_all(reader)) == list(range(50))


def test_reading_while_writing(tmp_path: Path) -> None:
    found: list[int] = []
    with Journal(tmp_path, segment_bytes=500) as journal:
        reader = JournalReader(journal.path)

        def read() -> None:
            while not reader.finished():
                if reader.wait(1000):
                    found.extend(numbers(reader.lines(7, 300)))

        # Begun with the first line: before that there is no journal, so none that could be unfinished.
        journal.append(event(0))
        thread = threading.Thread(target=read)
        thread.start()
        for number in range(1, 5000):
            journal.append(event(number, number % 90))
    thread.join()
    assert found == list(range(5000))
    assert (reader.torn, reader.corrupt, reader.missing) == (0, 0, 0)


def test_wait(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        reader = JournalReader(journal.path)
        assert not reader.wait(0)
        writer = threading.Thread(target=journal.append, args=(event(0),))
        writer.start()
        assert reader.wait(60_000)
        writer.join()
        assert numbers(reader.lines(9, MANY)) == [0]
        assert not reader.wait(10)


def test_finished_only_when_the_writer_is_gone_and_all_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(event(0))
    reader = JournalReader(journal.path)
    assert not reader.finished()
    assert len(reader.lines(10, MANY)) == 1
    assert not reader.finished(), "the writer lives"
    journal.append(event(1))
    journal.close()
    assert not reader.finished(), "there is something to read"
    assert len(reader.lines(10, MANY)) == 1
    assert reader.finished()


def test_the_lock_of_a_living_writer(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(event(0))
    with (Path(journal.path) / "lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        JournalReader(journal.path).finished()
        del journal
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


WRITER = """
import sys
from pixelcore import Journal
journal = Journal(sys.argv[1], segment_bytes=2000)
number = 0
while True:
    journal.append(b'{"n":%d,"x":"%s"}' % (number, b"x" * (number % 300)))
    sys.stdout.buffer.write(b"%d\\n" % number)
    sys.stdout.buffer.flush()
    number += 1
"""


@pytest.mark.parametrize("seed", range(5))
def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    root, acknowledged = tmp_path / "events", tmp_path / "acknowledged"
    enough = random.Random(seed).randrange(1, 20_000)
    with acknowledged.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=output)
    wait_for(lambda: acknowledged.stat().st_size >= enough, 120)
    (path,) = root.iterdir()
    assert not JournalReader(path).finished()
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = int(acknowledged.read_bytes().split(b"\n")[-2])
    reader = JournalReader(path)
    found = numbers(read_all(reader))
    assert found == list(range(len(found)))
    assert len(found) > last
    assert (reader.finished(), reader.corrupt, reader.missing) == (True, 0, 0)


def test_delete_before(tmp_path: Path) -> None:
    journal = dead(tmp_path, 60)
    reader = JournalReader(journal.path)
    third = start_of(segments(journal)[2])
    assert reader.delete_before(third - 1) == 1, "a segment that is not read to its end stays"
    assert reader.delete_before(third) == 1
    assert start_of(segments(journal)[0]) == third
    left = len(segments(journal))
    assert reader.delete_before(journal.end) == left - 1
    assert len(segments(journal)) == 1, "the last segment is never deleted: it holds the offset"
    assert reader.delete_before(2**62) == 0


def test_delete_before_honours_age(tmp_path: Path) -> None:
    journal = dead(tmp_path, 60)
    reader = JournalReader(journal.path)
    first, second, *_ = segments(journal)
    hour_ago = time.time() - 3600
    os.utime(first, (hour_ago, hour_ago))
    assert reader.delete_before(journal.end, older_than_ms=7_200_000) == 0
    assert reader.delete_before(journal.end, older_than_ms=1_800_000) == 1
    assert segments(journal)[0] == second


def test_delete_journal(tmp_path: Path) -> None:
    journal = dead(tmp_path, 60)
    reader = JournalReader(journal.path)
    read_all(reader)
    reader.delete_journal()
    assert list(tmp_path.iterdir()) == []
    reader.delete_journal()
    assert reader.lines(1, 1) == []
    assert reader.torn == 0


def test_misuse(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for line in (b"\n", b"{}\n", b"{\n}"):
            with pytest.raises(JournalError, match="newline"):
                journal.append(line)
        assert list(tmp_path.iterdir()) == []
        journal.append(event(0))
    journal.close()
    with pytest.raises(JournalError, match="closed") as caught:
        journal.append(event(1))
    assert not isinstance(caught.value, JournalFull)
    assert read_all(JournalReader(journal.path)) == [event(0)]
    with pytest.raises(JournalError, match="/dev/null"):
        Journal("/dev/null/x")
    with pytest.raises(ValueError, match="when_full"):
        Journal(tmp_path, when_full="explode")  # type: ignore[arg-type]


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path, segment_bytes=3000) as journal:
        ends: dict[int, int] = {}

        def write(first: int) -> None:
            for number in range(first, first + 500):
                ends[number] = journal.append(event(number, number % 200))
                if number % 50 == 0:
                    journal.sync()
                    journal.measure()

        threads = [threading.Thread(target=write, args=(first * 500,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reader = JournalReader(journal.path)
    found = {json.loads(line)["n"]: reader.offset for line in iter(lambda: one(reader), b"")}
    assert found == ends, "each line ends at the offset that its append returned"
    assert (reader.torn, reader.corrupt, reader.missing) == (0, 0, 0)


def one(reader: JournalReader) -> bytes:
    return b"".join(reader.lines(1, 1))


KEYS: list[tuple[str, str, bytes | None]] = [
    ("userId", '{"userId":"u","anonymousId":"a"}', b"u"),
    ("the order does not matter", '{"anonymousId":"a","type":"x","userId":"u"}', b"u"),
    ("else anonymousId", '{"anonymousId":"a"}', b"a"),
    ("else none", '{"groupId":"g","messageId":"m"}', None),
    ("only at the top", '{"properties":{"userId":"u"},"traits":{"anonymousId":"a"}}', None),
    ("escaped", r'{"userId":"a\"b\\c\/d\u00e9\n\ud83d\ude00"}', 'a"b\\c/dé\n😀'.encode()),
    ("an escaped name", r'{"user\u0049d":"u"}', b"u"),
    ("bare UTF-8", '{"userId":"é😀"}', "é😀".encode()),
    ("a space", '{"userId":" "}', b" "),
]


@pytest.mark.parametrize(("line", "key"), [pytest.param(*row[1:], id=row[0]) for row in KEYS])
def test_message_keys(tmp_path: Path, line: str, key: bytes | None) -> None:
    with Journal(tmp_path) as journal:
        journal.append(line.encode())
    reader = JournalReader(journal.path)
    assert [message[:2] for message in reader.messages(10, MANY)] == [(line.encode(), key)]
    assert reader.messages(10, MANY) == []


NOW = 4102444800000  # the year 2100: later than the test runs
RECORDS: list[tuple[str, str, int, str | None]] = [
    (
        "as a gateway writes it",
        '{"receivedAt":"2025-02-25T14:30:00.123Z","pipelineId":"pip_a"}',
        1740493800123,
        "pip_a",
    ),
    ("escaped", r'{"receivedAt":"2025\u002d02-25T14:30:00.000Z","pipelineId":"pip\u005fa"}', 1740493800000, "pip_a"),
    ("without", "{}", NOW, None),
    ("no time", '{"receivedAt":"yesterday"}', NOW, None),
    ("no text", '{"receivedAt":1740493800000,"pipelineId":7}', NOW, None),
    ("of the future, where a clock was set back", '{"receivedAt":"2190-01-01T00:00:00.000Z"}', NOW, None),
    ("only at the top", '{"properties":{"receivedAt":"2025-02-25T14:30:00.123Z","pipelineId":"x"}}', NOW, None),
]


@pytest.mark.parametrize(("line", "timestamp", "pipeline"), [pytest.param(*row[1:], id=row[0]) for row in RECORDS])
def test_what_a_record_is_made_of(tmp_path: Path, line: str, timestamp: int, pipeline: str | None) -> None:
    before = int(time.time() * 1000)
    with Journal(tmp_path) as journal:
        journal.append(line.encode())
    ((_, _, found, of),) = JournalReader(journal.path).messages(10, MANY)
    assert of == pipeline
    assert found == timestamp or (timestamp == NOW and before <= found <= time.time() * 1000)


def test_a_journal_begins_anew(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(b'{"n":1}')
        old = JournalReader(journal.path)
        journal.renew()
        assert not old.live
        journal.append(b'{"n":2}')
        assert journal.sync() == journal.end == len(b'{"n":2}\n')
        assert old.lines() == [b'{"n":1}']
        assert JournalReader(journal.path).lines() == [b'{"n":2}']
        assert JournalReader(journal.path).live
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(pixelcore.JournalError):
        journal.renew()


@pytest.mark.parametrize("size", [4095, 4096, 4097, 256 * 1024, 256 * 1024 + 1, 3_000_000])
def test_long_lines(tmp_path: Path, size: int) -> None:
    """Longer than a segment, and than what is read at once."""
    lines = [event(number, size) for number in (0, 1, 2)]
    with Journal(tmp_path, segment_bytes=4096) as journal:
        for line in (b"{}", *lines, b"{}"):
            journal.append(line)
    for max_bytes in (1, 5000, 300_000, 1 << 30):
        reader = JournalReader(journal.path)
        found: list[bytes] = []
        while more := reader.lines(100, max_bytes):
            found += more
        assert found == [b"{}", *lines, b"{}"]


@pytest.mark.parametrize("max_events", [1, 2, 7, 99, 100, 101])
def test_max_events(tmp_path: Path, max_events: int) -> None:
    journal = dead(tmp_path, 100)
    reader = JournalReader(journal.path)
    assert len(reader.lines(max_events, MANY)) == min(max_events, 100)
    assert len(read_all(reader)) == 100 - min(max_events, 100)


@pytest.mark.parametrize("max_bytes", [1, 100, 1000, 4096, 10_000, 300_000])
@pytest.mark.parametrize("segment_bytes", [1000, MANY])
def test_max_bytes(tmp_path: Path, max_bytes: int, segment_bytes: int) -> None:
    """At least one event; beyond that, no more bytes than were asked for."""
    journal = dead(tmp_path, 5000, size=90, segment_bytes=segment_bytes)
    reader = JournalReader(journal.path)
    read = 0
    while lines := reader.lines(MANY, max_bytes):
        read += len(lines)
        assert len(lines) == 1 or sum(map(len, lines)) <= max_bytes
    assert read == 5000


values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
objects = st.dictionaries(st.text(), values, max_size=4).map(lambda value: json.dumps(value, ensure_ascii=False))
lines_to_write = st.lists(objects.map(lambda text: text.encode("utf-8", "replace")), max_size=40)


@settings(max_examples=150)
@given(
    lines=lines_to_write,
    segment_bytes=st.integers(1, 500),
    batches=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 400)), min_size=1, max_size=5),
    resume=st.booleans(),
    early=st.sets(st.integers(0, 40)),
)
def test_what_is_written_is_read_back(
    lines: list[bytes], segment_bytes: int, batches: list[tuple[int, int]], resume: bool, early: set[int]
) -> None:
    """With any sizes, read partly during the writer's life, by one reader or by a new one each time."""
    found: list[bytes] = []
    with tempfile.TemporaryDirectory() as root, Journal(root, segment_bytes=segment_bytes) as journal:
        reader = JournalReader(journal.path)

        def read(turn: int) -> bool:
            nonlocal reader
            if resume:
                reader = JournalReader(journal.path, reader.offset)
            more = reader.lines(*batches[turn % len(batches)])
            found.extend(more)
            assert (reader.torn, reader.corrupt, reader.missing) == (0, 0, 0)
            return bool(more)

        for number, line in enumerate(lines):
            journal.append(line)
            if number in early:
                read(number)
        journal.close()
        turn = 0
        while read(turn):
            turn += 1
        assert found == lines
        assert reader.offset == journal.end == sum(len(line) + 1 for line in lines)
        assert reader.finished()
