"""Folding: it makes the reduced records of requests that leave no event ready for shipping (contract, section 9).

Requests leave equal lines in `OPENINGS` and `LOADS`. After its writer has ended, such a journal is folded. Openings become one line
for each person, with the last day. The loads of a closed window become counts. The result is a new journal of `LAST_OPENS` or
`COUNTS`, which is shipped like all others. The journals that it was made of are deleted.

A crash between any two steps neither loses nor repeats a line. The new journal appears at once with all its lines and the names of
its inputs, and these names are deleted last.

This module knows no Kafka: it writes journals, and the forwarder ships them.
"""

from __future__ import annotations

import calendar
import json
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import terms
from ._core import Journal
from .datadir import FOLDING_LOCK
from .files import EXCLUSIVE, make_directory, open_own, sync_directory, try_lock
from .journals import COUNTS, FOLDED, LAST_OPENS, LOADS, OPENINGS, JournalDirectory, journals
from .settings import Settings

log = logging.getLogger("pixelcore")

ROUND_SECONDS = 1.0
OPENINGS_SECONDS = 10.0
"""Seconds for which one journal collects openings."""
TABLE_SECONDS = 3600.0
"""The same without Kafka while openings are few. There, each folding rewrites the whole table."""
FEW = 8
"""Openings are few if the table has more than so many times their bytes."""
GRACE_SECONDS = 5.0
"""Seconds after the end of a window in which workers release their journals."""
DISTINCT_VALUES = 1000
"""The most values of a property, or of an event's name, in a pipeline's window. More are ids and not names, and go into the rest."""

_UNFINISHED = re.compile(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Record = tuple[bytes, "bytes | None", int, "str | None"]
"""A line, its message key, its time in Unix milliseconds, and no pipeline, because all records go to one topic."""


def record(line: bytes) -> Record:
    """The Kafka record of a folded line. Its time is that of its day or window, and not the time of shipping."""
    fields = json.loads(line)
    if "day" not in fields:
        return line, None, _millis(fields["window"]), None
    pipeline = fields.get("pipelineId") or fields["pipelineKey"]
    kind, name = ("uid", "userId") if "userId" in fields else ("aid", "anonymousId")
    return line, f"{pipeline}/{kind}/{fields[name]}".encode(), _millis(f"{fields['day']}T00:00:00.000Z"), None


def last_opens(lines: Iterable[bytes]) -> list[bytes]:
    """One line for each person, with the last day. They are sorted, so that their order reveals nothing."""
    days: dict[bytes, str] = {}
    for line in set(lines):
        if (fields := _read(line)) is None:
            continue
        day = fields.pop("day")
        person = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        days[person] = max(day, days.get(person, ""))
    return [person[:-1] + b',"day":"%b"}' % day.encode() for person, day in sorted(days.items())]


def counts(lines: Iterable[bytes], minimum: Callable[[str], int]) -> list[bytes]:
    """The lines of closed windows with their counts. Counts below a pipeline's ``minimum`` are merged into its rest.

    The rest also has the values of a property or an event beyond the first `DISTINCT_VALUES` in a window.
    """
    rows: Counter[bytes] = Counter()
    rest: Counter[tuple[str, str, str]] = Counter()
    names: dict[bytes, tuple[str, str, str]] = {}
    values: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for line in lines:
        if line in names:
            rows[line] += 1
            continue
        if (fields := _read(line)) is None:
            continue
        pipeline = "pipelineId" if "pipelineId" in fields else "pipelineKey"
        name = (pipeline, fields[pipeline], fields["window"])
        told = {"event": fields.get("event"), "name": fields.get("name"), **fields.get("properties", {})}
        seen = [(values[(*name, field)], value) for field, value in told.items() if value is not None]
        if any(value not in known and len(known) >= DISTINCT_VALUES for known, value in seen):
            rest[name] += 1
            continue
        for known, value in seen:
            known.add(value)
        names[line] = name
        rows[line] = 1
    released = []
    for line, count in sorted(rows.items()):
        if count < minimum(names[line][1]):
            rest[names[line]] += count
        else:
            released.append(line[:-1] + b',"count":%d}' % count)
    for (pipeline, value, window), count in sorted(rest.items()):
        row = {pipeline: value, "window": window, "rest": True, "count": count}
        released.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode())
    return released


class Folder(threading.Thread):
    """Folds the journals that this gateway's workers have released. Each worker has a folder, and the one with the lock works."""

    def __init__(
        self,
        settings: Settings,
        openings: Journal | None = None,
        turn: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``openings`` is this worker's own journal. ``turn`` releases its loads of a past window."""
        super().__init__(name="folder", daemon=True)
        self._settings = settings
        self._root = settings.data_dir
        self._openings = openings
        self._turn = turn
        self._clock = clock
        self._let_go_at = clock()
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(ROUND_SECONDS):
            self.round()

    def stop(self) -> None:
        """End the thread, after the last round."""
        self._stopping.set()
        if self.is_alive():
            self.join()
        self.round()

    def round(self) -> None:
        """Release this worker's due journals, and fold all released ones. After a failure, the next round tries again."""
        try:
            if not self._stopping.is_set():
                self._turn()
                self._let_go()
            if any(journals(self._root / kind) for kind in (OPENINGS, LOADS)) or self._is_unfinished():
                with _locked(self._root) as is_ours:
                    if is_ours:
                        self._finish()
                        self._fold_openings()
                        self._fold_loads()
        except Exception as error:  # noqa: BLE001
            # After any error, the thread must continue, because unfolded lines are not shipped.
            log.error("openings or loads cannot be folded, trying again: %s: %s", type(error).__name__, error)

    def _let_go(self) -> None:
        """Begin a new journal of openings when it is time to fold the old one."""
        own = self._openings
        if own is None or not own.end:
            self._let_go_at = self._clock()
            return
        table = journals(self._root / LAST_OPENS)
        size = sum(segment.size for journal in table for segment in journal.segments())
        if self._settings.ships and table:
            return  # one journal at a time, so that an older day never arrives after a newer one
        is_small = not self._settings.ships and own.end * FEW < size
        if self._clock() - self._let_go_at >= (TABLE_SECONDS if is_small else OPENINGS_SECONDS):
            self._let_go_at = self._clock()
            own.renew()

    def _fold_openings(self) -> None:
        table = journals(self._root / LAST_OPENS)
        if self._settings.ships and table:
            return
        if new := [journal for journal in journals(self._root / OPENINGS) if not journal.is_live]:
            # Without Kafka, the earlier result is folded in as well: it is the table.
            inputs = [*table, *new]
            # A UUIDv4, which contains no time.
            _write(self._root / LAST_OPENS, str(uuid.uuid4()), last_opens(_lines(inputs)), inputs)

    def _fold_loads(self) -> None:
        closed = self._clock() - GRACE_SECONDS - self._settings.aggregate_window
        of_window: defaultdict[str, list[JournalDirectory]] = defaultdict(list)
        waiting = set()
        for journal in journals(self._root / LOADS):
            window = next((fields["window"] for fields in map(_read, _lines([journal])) if fields), "")
            of_window[window].append(journal)
            if journal.is_live or (window and _millis(window) > closed * 1000):
                waiting.add(window)
        for window, inputs in of_window.items():
            if window not in waiting:
                with Journal(self._root / COUNTS) as life:
                    name = life.id  # a unique name
                _write(self._root / COUNTS, name, counts(_lines(inputs), self._minimum()), inputs)

    def _minimum(self) -> Callable[[str], int]:
        file = self._settings.keys_file
        said = terms.read(file.read_text("utf-8")) if file is not None else {}
        return lambda pipeline: said.get(pipeline, terms.UNSAID).minimum

    def _is_unfinished(self) -> bool:
        return any(journal.is_unfinished for kind in (LAST_OPENS, COUNTS) for journal in journals(self._root / kind))

    def _finish(self) -> None:
        """Clean up after a crash: delete inputs that were folded, and results that are incomplete."""
        for kind in (LAST_OPENS, COUNTS):
            root = self._root / kind
            for journal in journals(root):
                if journal.is_unfinished:
                    _delete_inputs(self._root, journal.path)
            if root.is_dir():
                for path in root.iterdir():
                    if _UNFINISHED.fullmatch(path.name):
                        shutil.rmtree(path)


def _write(root: Path, name: str, lines: list[bytes], inputs: list[JournalDirectory]) -> None:
    """Replace journals by one journal with these lines."""
    if lines:
        make_directory(root)
        unfinished = root / f".{name}"
        unfinished.mkdir(0o700)
        texts = {f"{0:020}.ndjson": b"".join(line + b"\n" for line in lines)}
        texts[FOLDED] = json.dumps([f"{journal.kind}/{journal.id}" for journal in inputs]).encode()
        for file, text in texts.items():
            with os.fdopen(open_own(unfinished / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
        sync_directory(unfinished)
        unfinished.rename(root / name)
        sync_directory(root)
        _delete_inputs(root.parent, root / name)
    else:
        for journal in inputs:
            journal.delete()


def _delete_inputs(data_dir: Path, folded: Path) -> None:
    for name in json.loads((folded / FOLDED).read_bytes()):
        JournalDirectory(data_dir / name).delete()
    (folded / FOLDED).unlink()


def _lines(inputs: Iterable[JournalDirectory]) -> Iterator[bytes]:
    """The whole lines of journals. Torn lines are skipped."""
    for journal in inputs:
        for segment in journal.segments():
            with segment.path.open("rb") as file:
                for line in file:
                    if line.endswith(b"}\n"):
                        yield line[:-1]


def _read(line: bytes) -> dict[str, Any] | None:
    """The members of a line; None if it is damaged, which is logged without the line."""
    try:
        fields: dict[str, Any] = json.loads(line)
    except ValueError:
        log.warning("a line of openings or loads is damaged and is skipped")
        return None
    return fields


def _millis(text: str) -> int:
    """The Unix milliseconds of a time in the core's format."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(text[20:23])


@contextmanager
def _locked(data_dir: Path) -> Iterator[bool]:
    """Hold the lock of the process that folds, if it is free; whether it is held."""
    file = open_own(data_dir / FOLDING_LOCK, os.O_RDWR | os.O_CREAT)
    try:
        yield try_lock(file, EXCLUSIVE)
    finally:
        os.close(file)
