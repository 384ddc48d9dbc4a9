"""Reduced records, from the lines of requests to the shipped records (contract, section 9)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pixelcore import folding
from pixelcore._core import Journal
from pixelcore.folding import Folder
from pixelcore.journals import COUNTS, FOLDED, LAST_OPENS, LOADS, OPENINGS, JournalDirectory, journals
from pixelcore.settings import Settings

HOUR = 3600.0
TWO = 1_740_492_000.0
"""2025-02-25T14:00:00Z"""


def opened(who: str, day: str = "2025-02-25", kind: str = "userId") -> bytes:
    return f'{{"pipelineId":"pip_a","{kind}":"{who}","day":"{day}"}}'.encode()


def load(event: str = "E", hour: int = 14, pipeline: str = "pip_a", **properties: str) -> bytes:
    fields = {"type": "track", "event": event, "pipelineId": pipeline, "window": f"2025-02-25T{hour}:00:00.000Z"}
    return json.dumps(fields | ({"properties": properties} if properties else {}), separators=(",", ":")).encode()


def counted(line: bytes, count: int) -> bytes:
    return line[:-1] + f',"count":{count}}}'.encode()


def rest(count: int, pipeline: str = "pip_a", hour: int = 14) -> bytes:
    return f'{{"pipelineId":"{pipeline}","window":"2025-02-25T{hour}:00:00.000Z","rest":true,"count":{count}}}'.encode()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        ([opened("a"), opened("a"), opened("b")], [opened("a"), opened("b")]),
        ([opened("a", "2025-02-26"), opened("a", "2025-02-25")], [opened("a", "2025-02-26")]),
        (
            [opened("b"), opened("a", kind="anonymousId"), opened("a")],
            [opened("a", kind="anonymousId"), opened("a"), opened("b")],
        ),
        ([b'{"pipelineId":', opened("a")], [opened("a")]),
    ],
)
def test_the_last_day_of_each_person(lines: list[bytes], expected: list[bytes]) -> None:
    assert folding.last_opens(lines) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        ([load()] * 5, [counted(load(), 5)]),
        ([load()] * 4, [rest(4)]),
        ([load()] * 6 + [load("F")] * 2 + [load("G")] * 2, [counted(load(), 6), rest(4)]),
        ([load(a="x")] * 5 + [load(a="y")] * 5 + [load()], [counted(load(a="x"), 5), counted(load(a="y"), 5), rest(1)]),
        ([load()] * 4 + [load(hour=15)] * 4, [rest(4), rest(4, hour=15)]),
        ([load(pipeline="pip_b")] * 2 + [load()] * 2, [rest(2), counted(load(pipeline="pip_b"), 2)]),
        ([b"{}}", *[load()] * 5], [counted(load(), 5)]),
    ],
)
def test_counts_and_the_rest(lines: list[bytes], expected: list[bytes]) -> None:
    assert sorted(folding.counts(lines, lambda pipeline: 2 if pipeline == "pip_b" else 5)) == sorted(expected)


@pytest.mark.parametrize("field", ["event", "property"])
def test_one_value_for_each_person_is_no_name(field: str) -> None:
    many = [load(str(n)) if field == "event" else load(who=str(n)) for n in range(folding.DISTINCT_VALUES + 7)]
    found = folding.counts(many, lambda _: 1)
    assert len(found) == folding.DISTINCT_VALUES + 1
    assert rest(7) in found


def test_no_load_is_lost_in_the_sum() -> None:
    lines = [load(f"E{n % 40}", 10 + n % 3, a=str(n % 7)) for n in range(10_000)]
    assert sum(json.loads(row)["count"] for row in folding.counts(lines, lambda _: 40)) == 10_000


@pytest.mark.parametrize(
    ("line", "key", "time"),
    [
        (opened("a"), b"pip_a/uid/a", 1_740_441_600_000),
        (opened("a/b", kind="anonymousId"), b"pip_a/aid/a/b", 1_740_441_600_000),
        (counted(load(), 5), None, 1_740_492_000_000),
        (rest(5), None, 1_740_492_000_000),
        (b'{"pipelineKey":"dk_1","userId":"a","day":"2025-02-25"}', b"dk_1/uid/a", 1_740_441_600_000),
    ],
)
def test_a_record_has_no_time_but_that_of_its_day_or_window(line: bytes, key: bytes | None, time: int) -> None:
    assert folding.record(line) == (line, key, time, None)


class Gateway:
    """A data directory, with a clock."""

    def __init__(self, root: Path, *, ships: bool = False) -> None:
        kafka = {"bootstrap.servers": "nowhere:1"} if ships else {}
        self.root, self.now = root, TWO
        self.settings = Settings(data_dir=root, kafka=kafka)

    def folder(self, openings: Journal | None = None) -> Folder:
        return Folder(self.settings, openings, clock=lambda: self.now)

    def left(self, kind: str, *lines: bytes) -> None:
        """A journal whose writer is gone."""
        with Journal(self.root / kind) as journal:
            for line in lines:
                journal.append(line)

    def lines(self, kind: str) -> list[bytes]:
        paths = [segment.path for journal in journals(self.root / kind) for segment in journal.segments()]
        return [line for path in paths for line in path.read_bytes().splitlines()]


def test_a_window_is_counted_when_all_have_let_go_of_it(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    folder = gateway.folder()
    gateway.left(LOADS, *[load()] * 3)
    gateway.left(LOADS, *[load()] * 3, load("F"))
    gateway.left(LOADS, *[load(hour=15)] * 5)
    with Journal(tmp_path / LOADS) as living:
        living.append(load())
        for now in (TWO + HOUR, TWO + HOUR + folding.GRACE_SECONDS - 1, TWO + 2 * HOUR):
            gateway.now = now
            folder.round()
            assert (gateway.lines(COUNTS), len(gateway.lines(LOADS))) == ([], 13), now
    folder.round()
    assert gateway.lines(COUNTS) == [counted(load(), 7), rest(1)]
    assert gateway.lines(LOADS) == [load(hour=15)] * 5
    gateway.now = TWO + 2 * HOUR + folding.GRACE_SECONDS
    folder.round()
    assert gateway.lines(COUNTS)[2:] == [counted(load(hour=15), 5)]
    assert list((tmp_path / LOADS).iterdir()) == [], "nothing is left of what was counted"


def test_without_kafka_the_last_openings_are_one_table(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    folder = gateway.folder()
    for lines in ([opened("a"), opened("b")], [opened("a", "2025-02-27")], [opened("a", "2025-02-26"), opened("c")]):
        gateway.left(OPENINGS, *lines)
        folder.round()
    assert gateway.lines(LAST_OPENS) == [opened("a", "2025-02-27"), opened("b"), opened("c")]
    assert len(journals(tmp_path / LAST_OPENS)) == 1
    assert list((tmp_path / OPENINGS).iterdir()) == []


def test_with_kafka_no_older_day_comes_after_a_newer_one(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, ships=True)
    folder = gateway.folder()
    gateway.left(OPENINGS, opened("a"))
    folder.round()
    gateway.left(OPENINGS, opened("a", "2025-02-26"))
    folder.round()
    assert gateway.lines(LAST_OPENS) == [opened("a")], "the other waits until this one is shipped"
    (shipped,) = journals(tmp_path / LAST_OPENS)
    shipped.delete()
    folder.round()
    assert gateway.lines(LAST_OPENS) == [opened("a", "2025-02-26")]


def test_a_journal_of_openings_is_let_go_of_now_and_then(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with Journal(tmp_path / OPENINGS) as own:
        folder = gateway.folder(own)
        own.append(opened("a"))
        folder.round()
        assert own.end
        gateway.now += folding.OPENINGS_SECONDS
        folder.round()
        assert not own.end
        assert gateway.lines(LAST_OPENS) == [opened("a")]


@pytest.mark.parametrize("step", ["before the new name", "before the old ones go", "between the old ones"])
def test_a_crash_between_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A repeated folding has the same inputs, or does nothing."""
    gateway = Gateway(tmp_path)
    gateway.now = TWO + 2 * HOUR
    for _ in range(3):
        gateway.left(LOADS, *[load()] * 2)
    crash = KeyboardInterrupt()

    class Stop:
        left = {"before the new name": 0, "before the old ones go": 0, "between the old ones": 1}[step]

        def __call__(self, *_: object) -> None:
            raise crash

    if step == "before the new name":
        monkeypatch.setattr(Path, "rename", Stop())
    elif step == "before the old ones go":
        monkeypatch.setattr(folding, "_delete_inputs", Stop())
    else:
        real = JournalDirectory.delete

        def once(journal: JournalDirectory) -> None:
            if Stop.left == 0:
                raise crash
            Stop.left -= 1
            real(journal)

        monkeypatch.setattr(JournalDirectory, "delete", once)
    with pytest.raises(KeyboardInterrupt):
        gateway.folder().round()
    monkeypatch.undo()
    assert all(journal.is_unfinished for journal in journals(tmp_path / COUNTS)), "and so it is not shipped yet"
    gateway.folder().round()
    assert gateway.lines(COUNTS) == [counted(load(), 6)]
    assert [path.name for path in tmp_path.rglob(FOLDED)] == []
    assert list((tmp_path / LOADS).iterdir()) == []
    assert [path.name[0] for path in (tmp_path / COUNTS).iterdir()] != ["."]


def test_a_clock_that_jumps_loses_nothing(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.now = TWO + 2 * HOUR
    gateway.left(LOADS, *[load()] * 5)
    gateway.folder().round()
    gateway.left(LOADS, *[load()] * 6)
    gateway.folder().round()
    assert gateway.lines(COUNTS) == [counted(load(), 5), counted(load(), 6)]
