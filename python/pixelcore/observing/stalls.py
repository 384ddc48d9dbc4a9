"""Stalls: shipping makes no progress. Records since when, the current step, the last error, and the remedy.

The shipping threads report their steps (`Progress`). One thread watches them (`StallWatch`). After a minute without progress, it
logs an error once a minute, and writes a `Notice` into the data directory for ``pixelcore check`` and the live page.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from .. import processes
from ..datadir import STALLS
from ..files import replace
from . import counters

log = logging.getLogger("pixelcore")

STALLED_SECONDS = 60.0
"""After so long without progress, shipping is stalled (contract, section 6)."""
LOG_SECONDS = 60.0
ROUND_SECONDS = 1.0


class Progress:
    """The current step of a shipping thread, and the time since which it has had no success.

    The thread writes and the watch reads, so each attribute is set in one step.
    """

    def __init__(self, kind: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``kind`` is the kind of the journals, such as ``events``."""
        self.kind = kind
        self.doing = ""
        """The current step, such as ``claiming journal 019a…``."""
        self.trouble: str | None = None
        """The last error, and its remedy."""
        self._hint: str | None = None
        self._clock = clock
        self._since: float | None = None

    def tries(self, what: str, hint: str | None = None) -> None:
        """Take note that there is something to ship, and of the current step.

        ``hint`` names a likely cause, for a step that fails without an error.
        """
        self.doing, self._hint = what, hint
        if self._since is None:
            self._since = self._clock()

    def failed(self, trouble: str) -> None:
        """Take note of an error."""
        self.trouble = trouble

    def moved(self) -> None:
        """Take note that something was shipped, or that there is nothing to ship."""
        self._since = self.trouble = None

    @property
    def stalled_seconds(self) -> float:
        """The seconds without success; 0 while there is nothing to ship."""
        since = self._since
        return 0.0 if since is None else max(0.0, self._clock() - since)

    def describe(self) -> str:
        """The stall in one line for the operator: since when, the step, the error, and the remedy."""
        trouble = self.trouble or self._hint or "no error was reported; `pixelcore check` tries each step by itself"
        return f"no {self.kind} have reached Kafka for {self.stalled_seconds:.0f} s, {self.doing}: {trouble}"


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A process's record of a stall, in the data directory."""

    kind: str
    pid: int
    started: str
    """The start of the process, which distinguishes it from a later process with the same id."""
    since: float
    """Unix seconds."""
    text: str


class StallWatch(threading.Thread):
    """Watches progress until it is stopped. It counts, logs, and writes notices."""

    def __init__(self, data_dir: Path, watched: list[Progress], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="stall watch", daemon=True)
        self._directory = data_dir / STALLS
        self._watched = watched
        self._clock = clock
        self._log_at: dict[Progress, float] = {}
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(ROUND_SECONDS):
            self.look()
        for progress in self._watched:
            self._withdraw(progress)

    def stop(self) -> None:
        """End the thread, and delete its notices."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def look(self) -> None:
        """Look at all threads once."""
        longest: dict[str, float] = {}
        for progress in self._watched:
            seconds = progress.stalled_seconds
            longest[progress.kind] = max(seconds, longest.get(progress.kind, 0.0))
            if seconds < STALLED_SECONDS:
                if progress in self._log_at:
                    log.warning("%s reach Kafka again", progress.kind)
                    self._withdraw(progress)
                continue
            text = progress.describe()
            if self._clock() >= self._log_at.get(progress, 0.0):
                self._log_at[progress] = self._clock() + LOG_SECONDS
                log.error("%s", text, extra={"journal": progress.kind, "stalled_seconds": round(seconds)})
            self._leave(progress, seconds, text)
        for kind, seconds in longest.items():
            counters.stalled(kind, seconds)

    def _leave(self, progress: Progress, seconds: float, text: str) -> None:
        pid = os.getpid()
        notice = Notice(progress.kind, pid, processes.started_at(pid), time.time() - seconds, text)
        # On a full disk, the log and the metric still show the stall.
        with contextlib.suppress(OSError):
            replace(self._path(progress), json.dumps(msgspec.to_builtins(notice)))

    def _withdraw(self, progress: Progress) -> None:
        if self._log_at.pop(progress, None) is not None:
            with contextlib.suppress(OSError):
                self._path(progress).unlink(missing_ok=True)

    def _path(self, progress: Progress) -> Path:
        return self._directory / f"{os.getpid()}-{self._watched.index(progress)}.json"


def notices(data_dir: Path) -> list[Notice]:
    """The current stalls of a data directory, oldest first, without those of dead processes."""
    found = []
    for path in (data_dir / STALLS).glob("*.json"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            notice = msgspec.json.decode(path.read_bytes(), type=Notice)
            if processes.started_at(notice.pid) == notice.started:
                found.append(notice)
    return sorted(found, key=lambda notice: notice.since)
