"""Whether new events are safe in this worker, for ``/readyz``. Also the log lines about requests that became no event."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from .._core import Counters, take_ignored_names
from ..errors import JournalError, JournalFull
from ..observing import counters

log = logging.getLogger("pixelcore")

REPORT_SECONDS = 60.0
NAMES = 100
"""The most names that a worker logs in its life: random ones come from cache busters and scanners."""

QUOTED_PRINTABLE = {
    "quoted_printable kept": "with values that begin with 3D: quoted-printable that was never decoded; the mail lacks its"
    " Content-Transfer-Encoding",
    "quoted_printable decoded": "with a byte instead of = and two digits: decoded as quoted-printable although it was not"
    " encoded; write = as =3D, or send the mail as 8bit",
}
"""The text about a mailer's fault, by its counter."""


class Safety:
    """The state of a worker: new events are safe, or they are being lost for a reason."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """Why events are being lost, without details for the operator alone; None while they are safe."""

    def lost(self, error: Exception) -> None:
        """Take note of a request that could not be journaled, or of a flush that failed."""
        log.error("events are being lost: %s", error, exc_info=not isinstance(error, JournalError))
        self.failure = "there is no room" if isinstance(error, JournalFull) else "see the log"
        counters.ready(False)

    def recovered(self) -> None:
        """Take note that new events are safe again."""
        log.warning("events are safe again")
        self.failure = None
        counters.ready(True)


class IgnoredNames:
    """Logs unknown parameter names, each once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def now_and_then(self) -> None:
        """Log the new names."""
        if not (names := take_ignored_names()) or len(self._logged) >= NAMES:
            return
        if new := [name for name in names if name not in self._logged]:
            self._logged.update(new)
            log.warning("parameters with unknown names are left out of events: %s", ", ".join(map(repr, new)))


class OutcomeReport:
    """Logs the number of requests that became no event, with at most one line per `REPORT_SECONDS`."""

    def __init__(self, outcomes: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._outcomes = outcomes
        self._clock = clock
        self._reported: dict[str, int] = {}
        self._reported_quoted: dict[str, int] = {}
        self._again_at = 0.0

    def now_and_then(self) -> None:
        """Report new outcomes, unless the last line is too recent."""
        now = self._clock()
        if now >= self._again_at and self.report():
            self._again_at = now + REPORT_SECONDS

    def report(self) -> bool:
        """Report new outcomes; True if there were any."""
        counts = self._outcomes.outcomes()
        del counts["accepted"]
        news = {name: count - self._reported.get(name, 0) for name, count in counts.items()}
        news = {name: count for name, count in news.items() if count}
        hint = self._quoted_printable()
        if news:
            texts = [f"{count} {name}" for name, count in news.items()]
            log.warning("requests that became no event: %s", "; ".join(filter(None, [", ".join(texts), hint])))
        elif hint:
            log.warning("events with garbled values: %s", hint)
        self._reported = counts
        return bool(news or hint)

    def _quoted_printable(self) -> str:
        """The text about queries that a mailer left quoted-printable or decoded since the last report."""
        slots = self._outcomes.slots()
        texts = []
        for slot, text in QUOTED_PRINTABLE.items():
            if count := slots[slot] - self._reported_quoted.get(slot, 0):
                texts.append(f"{count} {text}")
            self._reported_quoted[slot] = slots[slot]
        return "; ".join(texts)
