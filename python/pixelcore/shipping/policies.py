"""The decisions of shipping that need no I/O: how large a batch is, when it begins, how long a failure is waited for, at which
priority a worker ships. Each is a small object with an injected clock (seconds that do not go back)."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

Clock = Callable[[], float]

BATCH_EVENTS = 2500
"""More in flight would cost a worker memory (5,000 took 5 MB) and more CPU an event, and ships no faster."""
BATCH_BYTES = 900_000
"""Fits in one request, keys and Kafka's framing included (`batch.size`, 1,000,000). For what is left over, librdkafka's thread
polls without a pause until the first request is answered, since an idempotent producer has one batch a partition in flight."""

SPACING_SECONDS = 0.02
"""From the beginning of a batch to that of the next, unless it was full. However small, a batch costs some 1 ms of CPU: its
requests, and librdkafka's threads that wake each other."""

BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 2.0

BEHIND_SECONDS = 5.0
"""A worker ships at normal priority after batches were full for so long: low priority is too little on a core full of requests."""
CATCH_UP_SECONDS = 60.0
"""It does so for as long at least, and until a batch is not full."""


class BatchSize:
    """How many events the next batch has at most: half as many after a failure, twice as many after a success.

    So neither one event nor a broker that is too slow for large transactions holds up the rest.
    """

    def __init__(self, most: int | None = None) -> None:
        """``most`` is `BATCH_EVENTS` where nothing is said."""
        self._most = self.events = most or BATCH_EVENTS

    def succeeded(self) -> None:
        """Allow more."""
        self.events = min(self._most, self.events * 2)

    def failed(self) -> None:
        """Allow less."""
        self.events = max(1, self.events // 2)


class Backoff:
    """How long to wait after a failure: twice as long after each further one, up to a bound."""

    def __init__(self, first: float = BACKOFF_SECONDS, most: float = MAX_BACKOFF_SECONDS) -> None:
        self._first, self._most = first, most
        self._next = first

    def failed(self) -> float:
        """Seconds to wait now."""
        seconds, self._next = self._next, min(self._most, self._next * 2)
        return seconds

    def succeeded(self) -> None:
        """Begin anew with the next failure."""
        self._next = self._first


class Pace:
    """When the next batch may begin, and since when each batch was full."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._next = self._began
        self.full_since: float | None = None
        """Since when each batch was full, by the clock; None when the last one was not, or failed."""

    def wait(self) -> float:
        """Seconds until the next batch may begin."""
        return max(0.0, self._next - self._clock())

    def begin(self) -> None:
        """Take note that a batch begins."""
        self._began = self._clock()

    def read(self, is_full: bool) -> None:
        """Take note of what the batch that has begun has: a full one may be followed at once."""
        self._next = self._began if is_full else self._began + SPACING_SECONDS

    def succeeded(self, is_full: bool) -> None:
        """Take note that the batch is committed."""
        self.full_since = (self._began if self.full_since is None else self.full_since) if is_full else None

    def paused(self) -> None:
        """Take note that there was nothing to ship, or that it failed."""
        self.full_since = None


class Ownership:
    """Whether a journal that was fenced may be opened again, or belongs to the process that has fenced it."""

    def __init__(self) -> None:
        self._was_open = False
        self.may_be_lost = False
        """Whether the journal was open here and then fenced. Before it was open there was nothing to be fenced off from."""

    def opened(self) -> None:
        """Take note that the journal is open here."""
        self._was_open = True

    def fenced(self) -> None:
        """Take note that the coordinator refuses this producer."""
        self.may_be_lost = self._was_open

    def committed(self) -> None:
        """Take note that it is ours after all."""
        self.may_be_lost = False


class Level(Enum):
    """At which priority a worker ships."""

    LOW = "low"
    """Below the threads that answer."""
    NORMAL = "normal"
    """Like them: for `pixelcore forward`, and in a worker that has fallen behind."""


class Priority:
    """At which priority to ship, as batches come. ``lowers`` says whether it may be low at all."""

    def __init__(self, lowers: bool, clock: Clock = time.monotonic) -> None:
        self._lowers = lowers
        self._clock = clock
        self._normal_until = 0.0
        self.level = Level.LOW if lowers else Level.NORMAL

    def changes(self, full_since: float | None) -> bool:
        """Whether the level is another one from now on; ``full_since`` is that of `Pace`."""
        if not self._lowers:
            return False
        now = self._clock()
        if self.level is Level.LOW and full_since is not None and now - full_since > BEHIND_SECONDS:
            self._normal_until = now + CATCH_UP_SECONDS
            self.level = Level.NORMAL
            return True
        if self.level is Level.NORMAL and full_since is None and now > self._normal_until:
            self.level = Level.LOW
            return True
        return False
