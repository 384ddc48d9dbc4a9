"""``pixelcore replay``: rejected requests are judged again, once the cause is mended (contract, section 5).

What is accepted now goes to a journal under ``replay``, which nobody ships. Then ``replayed.json`` is replaced, which
names that journal and all records that became events, and last the journal is moved to the events'. The file decides:
a journal that it names was replayed, and is moved by the next replay if a crash was in between; any other is begun anew.
So no record becomes two events.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from ._core import Journal, JournalReader
from .collector import collector
from .datadir import EVENTS, REJECTIONS, journals
from .errors import JournalError, Rejected, SettingsError
from .settings import Settings

REPLAY = "replay"
REPLAYED = "replayed.json"
BATCH_EVENTS = 1000
BATCH_BYTES = 1 << 20

Ranges = list[tuple[int, int]]
"""Bytes of a journal, from and up to, in order."""


@dataclass
class Outcome:
    """What became of the records, by the reason that they were rejected for."""

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    """Records that are none of pixelcore's, or damaged."""


def run(settings: Settings, wanted: Callable[[str, str], bool], dry_run: bool = False) -> Outcome:
    """Judge all records again that were not replayed and for which ``wanted(reason, received_at)``.

    Raises `JournalError`, `SettingsError` for the key file, and ``OSError``. Then no record was replayed, or the next replay completes this one.
    """
    root = settings.data_dir / REPLAY
    if dry_run or not settings.data_dir.is_dir():
        _, replayed = _load(root)
        return _judge(settings, wanted, replayed, lambda _journal, _begin, _end, _event: None)
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"{root}: another replay is running") from None
        _settle(settings, root)
        try:
            return _replay(settings, wanted, root)
        finally:
            _settle(settings, root)


def _replay(settings: Settings, wanted: Callable[[str, str], bool], root: Path) -> Outcome:
    _, replayed = _load(root)
    new: dict[str, Ranges] = defaultdict(list)
    room = settings.journal_max_bytes - Journal(settings.data_dir / EVENTS).measure()
    with Journal(root, segment_bytes=settings.journal_segment_bytes, max_bytes=max(0, room)) as journal:

        def keep(source: str, begin: int, end: int, event: bytes) -> None:
            journal.append(event)
            new[source].append((begin, end))

        outcome = _judge(settings, wanted, replayed, keep)
    if new:
        there = {path.name for path in journals(settings.data_dir / REJECTIONS)}
        ranges = {name: _merged(replayed.get(name, []) + new[name]) for name in there & (replayed.keys() | new.keys())}
        _save(root, journal.id, ranges)
    return outcome


def _judge(
    settings: Settings,
    wanted: Callable[[str, str], bool],
    replayed: dict[str, Ranges],
    accept: Callable[[str, int, int, bytes], None],
) -> Outcome:
    outcome = Outcome()
    judge = _judge_of(settings)
    for path in journals(settings.data_dir / REJECTIONS):
        before = replayed.get(path.name, [])
        for offset, record in _records(path):
            if _covers(before, offset):
                continue
            try:
                members = json.loads(record)
                reason = str(members["reason"])
                if not wanted(reason, members["receivedAt"]):
                    continue
                event = judge(record)
            except Rejected:
                outcome.rejected[reason] += 1
            except (KeyError, TypeError, ValueError):
                outcome.unreadable += 1
            else:
                outcome.accepted[reason] += 1
                accept(path.name, offset, offset + len(record) + 1, event)
    return outcome


def _judge_of(settings: Settings) -> Callable[[bytes], bytes]:
    with tempfile.TemporaryDirectory() as nowhere:
        unused = Journal(nowhere)  # a journal is not there before its first line
        judge = collector(settings, unused, unused)
    if settings.keys_file is not None:
        try:
            judge.set_keys(settings.keys_file.read_text(), 1.0)
        except (OSError, ValueError) as error:
            raise SettingsError(f"PIXELCORE_KEYS_FILE: {settings.keys_file}: {error}") from None
    return judge.replay


def _records(journal: Path) -> Iterator[tuple[int, bytes]]:
    """The records of a journal up to the end that it has now, each after its offset; its writer may live."""
    end = 0
    for segment in journal.glob("*.ndjson"):
        with contextlib.suppress(FileNotFoundError):
            end = max(end, int(segment.stem) + segment.stat().st_size)
    reader = JournalReader(journal)
    while reader.offset < end and (records := reader.records(BATCH_EVENTS, BATCH_BYTES)):
        yield from records


def _covers(ranges: Ranges, offset: int) -> bool:
    at = bisect_right(ranges, offset, key=itemgetter(0)) - 1
    return at >= 0 and offset < ranges[at][1]


def _merged(ranges: Ranges) -> Ranges:
    """The same bytes in as few ranges as can be."""
    merged: Ranges = []
    for begin, end in sorted(ranges):
        if merged and merged[-1][1] == begin:
            begin, _ = merged.pop()
        merged.append((begin, end))
    return merged


def _load(root: Path) -> tuple[str | None, dict[str, Ranges]]:
    """The journal of the last replay, and what was replayed of each journal of rejections."""
    try:
        content = json.loads((root / REPLAYED).read_text())
    except FileNotFoundError:
        return None, {}
    return content["journal"], {
        name: [(begin, end) for begin, end in pairs] for name, pairs in content["ranges"].items()
    }


def _save(root: Path, journal: str, ranges: dict[str, Ranges]) -> None:
    new = root / f"{REPLAYED}.new"
    with new.open("w") as file:
        json.dump({"journal": journal, "ranges": ranges}, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    new.replace(root / REPLAYED)
    _sync(root)


def _settle(settings: Settings, root: Path) -> None:
    """Move the journal that was replayed to the events', and delete what a replay that was cut off left."""
    replayed, _ = _load(root)
    events = settings.data_dir / EVENTS
    for path in journals(root):
        if path.name == replayed:
            events.mkdir(exist_ok=True)
            path.rename(events / path.name)
            _sync(events)
            _sync(root)
        else:
            JournalReader(path).delete_journal()


def _sync(directory: Path) -> None:
    """Flush a directory's names to the device."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
