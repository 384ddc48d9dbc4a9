"""The command ``pixelcore replay``: rejected requests are judged again, once the cause is repaired (contract, section 5).

Requests that are accepted now go to a journal under ``replay``, which nobody ships. Then ``replayed.json`` is replaced, which
names that journal and all records that became events, and last the journal is moved to the events'. The file decides:
a journal that it names was replayed, and is moved by the next replay if a crash was in between; any other is begun anew.
So no record becomes two events.
"""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from operator import itemgetter
from pathlib import Path

import click

from .._core import REASONS, Journal, JournalReader
from ..datadir import REPLAY
from ..errors import JournalError, Rejected, SettingsError
from ..files import EXCLUSIVE, replace, sync_directory, try_lock
from ..journals import EVENTS, REJECTIONS, JournalDirectory, journals
from ..serving import key_file
from ..serving.collector import collector
from ..settings import Settings
from .flags import load, setting_flags

REPLAYED = "replayed.json"

Ranges = list[tuple[int, int]]
"""Bytes of a journal, from and up to, in order."""


def utc_time(text: str) -> str:
    """A time in ISO 8601, in UTC unless it says otherwise, as ``receivedAt`` has it."""
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
        utc = time.replace(tzinfo=time.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not like 2025-02-25T14:30:00Z or 2025-02-25") from None
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@click.command()
@click.option("--dry-run", is_flag=True, help="Judge only; nothing becomes an event.")
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice(REASONS),
    metavar="REASON",
    help="Only what was rejected for this reason; may be repeated.",
)
@click.option("--since", type=utc_time, metavar="TIME", help="Only what was received then or later: ISO 8601, UTC.")
@click.option("--until", type=utc_time, metavar="TIME", help="Only what was received before.")
@setting_flags(
    *("data_dir", "journal_max_bytes", "journal_segment_bytes"),
    *("max_query_bytes", "max_parameters", "max_depth", "compat", "typed_values"),
    *("keys_file", "ip", "respect_gpc", "automated"),
)
def replay(dry_run: bool, reasons: tuple[str, ...], since: str | None, until: str | None, **flags: str | None) -> None:
    """Judge rejected requests again: what is accepted now becomes events, received when it was. Never twice."""
    chosen = load(flags)

    def wanted(reason: str, received_at: str) -> bool:
        in_time = (since is None or since <= received_at) and (until is None or received_at < until)
        return in_time and (not reasons or reason in reasons)

    try:
        outcome = run(chosen, wanted, dry_run)
    except (JournalError, SettingsError, OSError) as error:
        raise click.ClickException(str(error)) from None
    rejected, accepted = outcome.rejected, outcome.accepted
    click.echo(f"{'reason':20}  {'still rejected':>14}  {'accepted':>14}")
    for reason in sorted({*rejected, *accepted}):
        click.echo(f"{reason:20}  {rejected[reason]:14}  {accepted[reason]:14}")
    click.echo(f"{'total':20}  {rejected.total():14}  {accepted.total():14}")
    if outcome.unreadable:
        click.echo(f"{outcome.unreadable} records could not be read", err=True)


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
        if not try_lock(lock.fileno(), EXCLUSIVE):
            raise JournalError(f"{root}: another replay is running")
        _complete(settings, root)
        try:
            return _replay(settings, wanted, root)
        finally:
            _complete(settings, root)


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
        there = {found.id for found in journals(settings.data_dir / REJECTIONS)}
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
    for journal in journals(settings.data_dir / REJECTIONS):
        before = replayed.get(journal.id, [])
        for offset, record in _records(journal):
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
                accept(journal.id, offset, offset + len(record) + 1, event)
    return outcome


def _judge_of(settings: Settings) -> Callable[[bytes], bytes]:
    with tempfile.TemporaryDirectory() as nowhere:
        unused = Journal(nowhere)  # a journal is not there before its first line
        judge = collector(settings, unused, unused)
    if settings.keys_file is not None:
        try:
            judge.set_keys(key_file.read(settings.keys_file), 1.0)
        except ValueError as error:
            raise key_file.wrong(settings.keys_file, str(error)) from None
    return judge.replay


def _records(journal: JournalDirectory) -> Iterator[tuple[int, bytes]]:
    """The records of a journal up to the end that it has now, each after its offset; its writer may live."""
    end = max((segment.end for segment in journal.segments()), default=0)
    reader = JournalReader(journal.path)
    while reader.offset < end and (records := reader.records()):
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
    content = json.dumps({"journal": journal, "ranges": ranges}, separators=(",", ":"))
    replace(root / REPLAYED, content, durable=True)


def _complete(settings: Settings, root: Path) -> None:
    """Move the journal that was replayed to the events', and delete what a replay that was cut off left."""
    replayed, _ = _load(root)
    events = settings.data_dir / EVENTS
    for journal in journals(root):
        if journal.id == replayed:
            events.mkdir(exist_ok=True)
            journal.path.rename(events / journal.id)
            sync_directory(events)
            sync_directory(root)
        else:
            journal.delete()
