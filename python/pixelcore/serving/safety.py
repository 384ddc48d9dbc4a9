"""Whether new events are safe in this worker: what ``/readyz`` says, and what the log says of requests without an event."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from .._core import Counters
from ..errors import JournalError
from ..observing import counters

log = logging.getLogger("pixelcore")

REPORT_SECONDS = 60.0


class Safety:
    """Either new events are safe, or they are being lost for a reason."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """Why events are being lost; None while they are safe."""

    def lost(self, error: Exception) -> None:
        """Take note of a request that could not be journaled, or of a flush that failed."""
        log.error("events are being lost: %s", error, exc_info=not isinstance(error, JournalError))
        self.failure = str(error)
        counters.ready(False)

    def recovered(self) -> None:
        """Take note that new events are safe again."""
        log.warning("events are safe again")
        self.failure = None
        counters.ready(True)


class OutcomeReport:
    """Logs how many requests became no event, at most one line in `REPORT_SECONDS` however many they are."""

    def __init__(self, outcomes: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._outcomes = outcomes
        self._clock = clock
        self._reported: dict[str, int] = {}
        self._again_at = 0.0

    def now_and_then(self) -> None:
        """Report what is new, unless the last line is too recent."""
        now = self._clock()
        if now >= self._again_at and self.report():
            self._again_at = now + REPORT_SECONDS

    def report(self) -> bool:
        """Report what is new; whether there was anything."""
        counts = self._outcomes.outcomes()
        del counts["accepted"]
        news = {name: count - self._reported.get(name, 0) for name, count in counts.items()}
        news = {name: count for name, count in news.items() if count}
        if news:
            log.warning("requests without an event: %s", ", ".join(f"{count} {name}" for name, count in news.items()))
        self._reported = counts
        return bool(news)
