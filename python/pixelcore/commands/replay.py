"""The command ``pixelcore replay``: judges rejected requests again, after their cause is repaired (contract, section 5).

A replay has three steps:

1. It writes the events of requests that are accepted now into a journal under ``replay``, which nobody ships.
2. It replaces ``replayed.json``, which names that journal and all records that became events.
3. It moves the journal to the journals of events.

The file decides after a crash. If it names a journal, this journal was replayed, and the next replay moves it. Any other journal
is deleted, and its records are judged again. So no record becomes two events.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import get_args

import click

from .. import consents, datadir
from .._core import REASONS, Journal, JournalReader
from ..datadir import REPLAY
from ..errors import JournalError, Rejected
from ..files import EXCLUSIVE, make_directory, open_own, replace, sync_directory, try_lock
from ..journals import EVENTS, REJECTIONS, JournalDirectory, journals
from ..model import Type
from ..serving import key_file
from ..serving.collector import collector
from ..serving.persons import Persons
from ..settings import Settings
from .flags import SettingsCommand, load, setting_flags
from .nothing import NothingThere
from .progress import progress

REPLAYED = "replayed.json"

Ranges = list[tuple[int, int]]
"""Ranges of bytes of a journal, from and up to, in order."""

Judge = Callable[[bytes], bytes]
"""Makes an event of a record. Raises `Rejected`."""

Wanted = Callable[[str, str], bool]
"""Whether a record with this reason and time is to be judged."""


def utc_time(text: str) -> str:
    """A time in ISO 8601, in UTC unless it has an offset, in the form of ``receivedAt``."""
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
        utc = time.replace(tzinfo=time.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not like 2025-02-25T14:30:00Z or 2025-02-25") from None
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@click.command(cls=SettingsCommand, short_help="Judge rejected requests again, after their cause is repaired.")
@click.option("--dry-run", is_flag=True, help="Show the outcome without making events.")
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice(REASONS),
    metavar="REASON",
    help="Only requests that were rejected for this reason; may be repeated.",
)
@click.option(
    "--since",
    type=utc_time,
    metavar="TIME",
    help="Only requests that were received at or after this time: ISO 8601, UTC.",
)
@click.option("--until", type=utc_time, metavar="TIME", help="Only requests that were received before this time.")
@click.option(
    "--as",
    "as_type",
    type=click.Choice(get_args(Type)),
    help="The type of requests whose path names none (unknown_type), such as track.png, Track, track%3Fwk=….",
)
@setting_flags(
    *("data_dir", "journal_max_bytes", "journal_segment_bytes"),
    *("max_query_bytes", "max_parameters", "max_depth", "compat", "typed_values"),
    *("keys_file", "ip", "respect_gpc", "automated"),
)
def replay(
    dry_run: bool,
    reasons: tuple[str, ...],
    since: str | None,
    until: str | None,
    as_type: str | None,
    **flags: str | None,
) -> None:
    """Judge rejected requests again. Each one that is accepted now becomes an event with its first receivedAt, and never a second one."""
    chosen = load(flags)

    def wanted(reason: str, received_at: str) -> bool:
        in_time = (since is None or since <= received_at) and (until is None or received_at < until)
        return in_time and (not reasons or reason in reasons)

    datadir.existing(chosen.data_dir)
    began = time.monotonic()
    outcome = run(chosen, wanted, dry_run, as_type)
    rejected, accepted = outcome.rejected, outcome.accepted
    click.echo(f"{'reason':20}  {'still rejected':>14}  {'accepted':>14}")
    for reason in sorted({*rejected, *accepted}):
        click.echo(f"{reason:20}  {rejected[reason]:14}  {accepted[reason]:14}")
    click.echo(f"{'total':20}  {rejected.total():14}  {accepted.total():14}")
    damage = f"; {outcome.unreadable:,} records could not be read" if outcome.unreadable else ""
    if not (judged := rejected.total() + accepted.total()):
        raise NothingThere(f"nothing to replay in {chosen.data_dir}: no such rejection is left{damage}")
    click.echo(f"{judged:,} judged in {time.monotonic() - began:.1f} s{damage}", err=True)


@dataclass
class Outcome:
    """The outcome of a replay, by the reason of rejection."""

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    """Records that are damaged, or not pixelcore's."""


def run(settings: Settings, wanted: Wanted, dry_run: bool = False, as_type: str | None = None) -> Outcome:
    """Judge all records again that were not replayed and for which ``wanted(reason, received_at)`` is true.

    ``as_type`` is the type of requests whose path names none. Raises `JournalError`, ``OSError``, and `SettingsError` for the key
    file. Then no record was replayed, or the next replay completes this one.
    """
    root, judge = settings.data_dir / REPLAY, _judge_of(settings, as_type)
    if dry_run:
        _, replayed = _load(root)
        return _judge(settings, judge, wanted, replayed, lambda _journal, _begin, _end, _event: None)
    datadir.prepare(settings)
    make_directory(root)
    with os.fdopen(open_own(root / "lock", os.O_WRONLY | os.O_CREAT), "wb") as lock:
        if not try_lock(lock.fileno(), EXCLUSIVE):
            raise JournalError(f"{root}: another replay is running")
        _complete(settings, root)
        try:
            return _replay(settings, judge, wanted, root)
        finally:
            _complete(settings, root)


def _replay(settings: Settings, judge: Judge, wanted: Wanted, root: Path) -> Outcome:
    _, replayed = _load(root)
    new: dict[str, Ranges] = defaultdict(list)
    room = settings.journal_max_bytes - Journal(settings.data_dir / EVENTS).measure()
    with Journal(root, segment_bytes=settings.journal_segment_bytes, max_bytes=max(0, room)) as journal:

        def keep(source: str, begin: int, end: int, event: bytes) -> None:
            journal.append(event)
            new[source].append((begin, end))

        outcome = _judge(settings, judge, wanted, replayed, keep)
    if new:
        there = {found.id for found in journals(settings.data_dir / REJECTIONS)}
        ranges = {name: _merged(replayed.get(name, []) + new[name]) for name in there & (replayed.keys() | new.keys())}
        _save(root, journal.id, ranges)
    return outcome


def _judge(
    settings: Settings,
    judge: Judge,
    wanted: Wanted,
    replayed: dict[str, Ranges],
    accept: Callable[[str, int, int, bytes], None],
) -> Outcome:
    outcome = Outcome()
    found = journals(settings.data_dir / REJECTIONS)
    done, size = 0, sum(segment.size for journal in found for segment in journal.segments())
    with progress("replay", size, "bytes") as tell:
        for journal in found:
            before = replayed.get(journal.id, [])
            for offset, record in _records(journal):
                tell(done := done + len(record) + 1)
                if _covers(before, offset):
                    continue
                try:
                    members = json.loads(record)
                    reason = str(members["reason"])
                    if not wanted(reason, members["receivedAt"]):
                        continue
                    event = judge(record)
                    if not event:
                        raise Rejected(reason)  # its mode allows no event now
                except Rejected:
                    outcome.rejected[reason] += 1
                except (KeyError, TypeError, ValueError):
                    outcome.unreadable += 1
                else:
                    outcome.accepted[reason] += 1
                    accept(journal.id, offset, offset + len(record) + 1, event)
    return outcome


def _judge_of(settings: Settings, as_type: str | None) -> Judge:
    with tempfile.TemporaryDirectory() as nowhere:
        unused = Journal(nowhere)  # a journal makes no files before its first line
        judge = collector(settings, unused, unused)
    if settings.keys_file is not None:
        try:
            keys = key_file.read(settings.keys_file)
            judge.set_keys(keys)
            if consents.has_list(settings):
                Persons(settings, judge).heed(keys)
        except ValueError as error:
            raise key_file.wrong(settings.keys_file, str(error)) from None
    return partial(judge.replay, type=as_type)


def _records(journal: JournalDirectory) -> Iterator[tuple[int, bytes]]:
    """The records of a journal with their offsets, up to its current end. Its writer may live."""
    end = max((segment.end for segment in journal.segments()), default=0)
    reader = JournalReader(journal.path)
    while reader.offset < end and (records := reader.records()):
        yield from records


def _covers(ranges: Ranges, offset: int) -> bool:
    at = bisect_right(ranges, offset, key=itemgetter(0)) - 1
    return at >= 0 and offset < ranges[at][1]


def _merged(ranges: Ranges) -> Ranges:
    """The same bytes in as few ranges as possible."""
    merged: Ranges = []
    for begin, end in sorted(ranges):
        if merged and merged[-1][1] == begin:
            begin, _ = merged.pop()
        merged.append((begin, end))
    return merged


def _load(root: Path) -> tuple[str | None, dict[str, Ranges]]:
    """The journal of the last replay, and the replayed ranges of each journal of rejections."""
    try:
        content = json.loads((root / REPLAYED).read_text())
    except FileNotFoundError:
        return None, {}
    return content["journal"], {
        name: [(begin, end) for begin, end in pairs] for name, pairs in content["ranges"].items()
    }


def _save(root: Path, journal: str, ranges: dict[str, Ranges]) -> None:
    content = json.dumps({"journal": journal, "ranges": ranges}, separators=(",", ":"))
    replace(root / REPLAYED, content, durable=True)


def _complete(settings: Settings, root: Path) -> None:
    """Move a replayed journal to the events, and delete the leftovers of an interrupted replay."""
    replayed, _ = _load(root)
    events = settings.data_dir / EVENTS
    for journal in journals(root):
        if journal.id == replayed:
            make_directory(events)
            journal.path.rename(events / journal.id)
            sync_directory(events)
            sync_directory(root)
        else:
            journal.delete()
