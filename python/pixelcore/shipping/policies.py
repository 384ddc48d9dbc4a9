"""The decisions of shipping without I/O: batch size, spacing, a topic's limits, backoff, ownership, and priority.

Each is a small object with an injected clock (monotonic, in seconds). Nothing here knows Kafka's client, threads or files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

Clock = Callable[[], float]

BATCH_EVENTS = 2500
"""The most events of a batch. More in flight would cost memory (5,000 took 5 MB) and more CPU per event, and ship no faster."""
BATCH_BYTES = 900_000
"""The most bytes of a batch. With keys and Kafka's framing, it fits into one request (`batch.size`, 1,000,000). An idempotent
producer has one batch per partition in flight: with a remainder, librdkafka's thread would poll without a pause until the first
request is answered."""

BATCH_REQUEST_BYTES = 1_000_000
"""librdkafka's default size of the batches that the producer sends (`batch.size`)."""

BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 2.0

BEHIND_SECONDS = 5.0
"""A worker ships at normal priority after batches were full for so long: on a busy core, low priority is not enough."""
CATCH_UP_SECONDS = 60.0
"""It stays at normal priority for so long at least, and until a batch is not full."""


class BatchSize:
    """The most events of the next batch: half as many after a failure, twice as many after a success.

    So a broker that is too slow for large transactions does not block shipping.
    """

    def __init__(self, most: int | None = None) -> None:
        """``most`` is `BATCH_EVENTS` by default."""
        self._most = self.events = most or BATCH_EVENTS

    def succeeded(self) -> None:
        """Allow twice as many."""
        self.events = min(self._most, self.events * 2)

    def failed(self) -> None:
        """Allow half as many."""
        self.events = max(1, self.events // 2)


class Backoff:
    """The wait after a failure, in seconds. It doubles with each further failure, up to ``most``."""

    def __init__(self, first: float = BACKOFF_SECONDS, most: float = MAX_BACKOFF_SECONDS) -> None:
        self._first, self._most = first, most
        self._next = first

    def failed(self) -> float:
        """The seconds to wait now."""
        seconds, self._next = self._next, min(self._most, self._next * 2)
        return seconds

    def succeeded(self) -> None:
        """Start again at ``first`` with the next failure."""
        self._next = self._first


class Limits:
    """The limits of a topic: from its configuration, or learnt from its refusals."""

    def __init__(self, batch_bytes: int = BATCH_REQUEST_BYTES) -> None:
        self.batch_bytes = batch_bytes
        """The most bytes of a batch that the producer sends (`batch.size`)."""
        self.record_bytes: int | None = None
        """The most bytes of a record; None if they are not known."""
        self.needs_key = False
        """Whether the topic is compacted, and so refuses records without a key."""

    def configured(self, record_bytes: int | None, needs_key: bool) -> None:
        """Take note of a topic's configuration. ``record_bytes`` is None if it is hidden."""
        self.needs_key |= needs_key
        if record_bytes is not None:
            self.record_bytes = record_bytes if self.record_bytes is None else min(self.record_bytes, record_bytes)
            self.batch_bytes = min(self.batch_bytes, record_bytes)

    def takes(self, size: int, has_key: bool) -> bool:
        """Whether a record of ``size`` bytes, framing included, is not known to be refused."""
        return (has_key or not self.needs_key) and (self.record_bytes is None or size <= self.record_bytes)

    def refused(self, sizes: list[int]) -> bool:
        """Take note that batches with records of these sizes were too large.

        True if each record was alone in its batch, so that the topic refuses the record itself. If not, the next batches
        are smaller.
        """
        if all(size >= self.batch_bytes for size in sizes):
            known = min(sizes) - 1
            self.record_bytes = known if self.record_bytes is None else min(self.record_bytes, known)
            return True
        self.batch_bytes = max(1, self.batch_bytes // 2)
        return False


class Pace:
    """The time at which the next batch may begin, and the time since which each batch was full.

    Even a small batch costs some 1 ms of CPU: its requests, and librdkafka's threads that wake each other. So batches that
    are not full begin ``interval`` seconds apart (the batch interval).
    """

    def __init__(self, interval: float, clock: Clock = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._began = clock()
        self._next = self._began
        self.full_since: float | None = None
        """The time since which each batch was full, by the clock; None if the last one was not full, or failed."""

    def wait(self) -> float:
        """The seconds until the next batch may begin."""
        return max(0.0, self._next - self._clock())

    def begin(self) -> None:
        """Take note that a batch begins."""
        self._began = self._clock()

    def read(self, is_full: bool) -> None:
        """Take note of whether the current batch is full. After a full one, the next may begin at once."""
        self._next = self._began if is_full else self._began + self._interval

    def succeeded(self, is_full: bool) -> None:
        """Take note that the batch is committed."""
        self.full_since = (self._began if self.full_since is None else self.full_since) if is_full else None

    def paused(self) -> None:
        """Take note that there was nothing to ship, or that shipping failed."""
        self.full_since = None


class Ownership:
    """Whether a journal that was fenced may be opened again, or belongs to the process that fenced it."""

    def __init__(self) -> None:
        self._was_open = False
        self.may_be_lost = False
        """Whether the journal was open here and then fenced. A fence before the first opening takes nothing away."""

    def opened(self) -> None:
        """Take note that the journal is open here."""
        self._was_open = True

    def fenced(self) -> None:
        """Take note that the coordinator refuses this producer."""
        self.may_be_lost = self._was_open

    def committed(self) -> None:
        """Take note that a commit succeeded, so the journal is still ours."""
        self.may_be_lost = False


class Level(Enum):
    """The priority of shipping."""

    LOW = "low"
    """Below the threads that answer."""
    NORMAL = "normal"
    """The same as theirs: for `pixelcore forward`, and in a worker with a large lag."""


class Priority:
    """The priority of shipping, which depends on the batches. ``lowers`` says whether it may be low at all."""

    def __init__(self, lowers: bool, clock: Clock = time.monotonic) -> None:
        self._lowers = lowers
        self._clock = clock
        self._normal_until = 0.0
        self.level = Level.LOW if lowers else Level.NORMAL

    def stay_normal(self) -> None:
        """Take note that this process cannot lower its priority."""
        self._lowers, self.level = False, Level.NORMAL

    def changes(self, full_since: float | None) -> bool:
        """Change the level if it is time to; True if it changed. ``full_since`` is that of `Pace`."""
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
