"""The Rust extension. Import its names from ``pixelcore``; this file is their reference.

All functions are pure but for the clock and the random numbers of a UUIDv7, hold the GIL for the few microseconds they
take, and never raise anything for the bytes of a query but `pixelcore.Rejected`.
"""

from collections.abc import Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, final

from typing_extensions import Self

from .errors import JournalError

__all__ = [
    "HEADERS",
    "REASONS",
    "Collector",
    "Committer",
    "Counters",
    "Journal",
    "JournalReader",
    "__version__",
    "check_keys",
    "check_proxies",
    "event",
    "know_crawlers",
    "nest",
    "pairs",
]

__version__: str

def check_keys(toml: str) -> int:
    """The number of keys in a key file. Raises ``ValueError`` with the line and what is wrong with it."""

def check_proxies(list: str) -> None:
    """Read a list of networks and addresses, separated by commas; ``loopback``, ``private`` and ``unix`` are names.

    Raises ``ValueError`` that names the first wrong one.
    """

HEADERS: tuple[str, ...]
"""The request headers that `Collector.collect` is given, in its order."""

REASONS: tuple[str, ...]
"""All reasons of rejection, in order of precedence."""

def pairs(query: str | bytes) -> list[tuple[str, str]]:
    """The names and values of a query, in order.

    This is the ``application/x-www-form-urlencoded`` parser of the WHATWG URL standard, section 5.1, and nothing more:
    ``amp;`` stays, nothing is trimmed, and no input is an error. A lone surrogate in a ``str`` reads as U+FFFD.
    """

def know_crawlers(list: bytes) -> None:
    """Makes the crawlers of a list known to `event` and `Collector`: the JSON of the package crawler-user-agents.

    Done once, when ``pixelcore`` is imported; a later list changes nothing. Raises ``ValueError`` where it is no such list.
    """

def nest(query: str | bytes, prefix: str = "p.", *, typed_values: bool = False) -> bytes:
    """The JSON object that the parameters beginning with ``prefix`` become (contract, section 3).

    ``{}`` when nothing matches. ``prefix`` is compared after decoding, and after one leading ``amp;`` of the name is
    taken away. ``typed_values`` turns ``true``, ``false`` and numbers into JSON ones where that loses no character of
    the text. No limit applies.
    """

def event(
    type: str,
    query: str | bytes,
    *,
    ip: str | None = None,
    user_agent: str | None = None,
    referer: str | None = None,
    locale: str | None = None,
    gpc: str | None = None,
    dnt: str | None = None,
    purpose: str | None = None,
    received_at: int | None = None,
    typed_values: bool = False,
    max_query_bytes: int = 8192,
    max_parameters: int = 256,
    max_depth: int = 32,
    compat: Sequence[Literal["segment", "rudderstack"]] = ...,
) -> bytes:
    """The event, one JSON object, that a pixel request becomes (contract, sections 2 to 4).

    ``type`` is ``track``, ``page``, ``identify`` or ``group``. ``user_agent``, ``referer``, ``locale`` (Accept-Language),
    ``gpc`` (Sec-GPC), ``dnt`` (DNT) and ``purpose`` (Sec-Purpose) are the values of the request's headers; ``ip`` goes into the event as it is.
    ``received_at`` is Unix milliseconds, 0 to 253402207200000 (one day before the year 10000); the default is now. ``max_depth`` counts the
    segments of a dotted path. ``compat`` names whose queries are understood beside the native ones (``docs/migration.md``);
    none by default.

    Raises `pixelcore.Rejected` with its ``reason``, and ``ValueError`` for a ``received_at`` out of range and for a
    name in ``compat`` that is none.
    """

@final
class Journal:
    """The append-only journal of one worker's life: a directory of NDJSON segments under ``root``.

    The directory's name is the journal's identity, a UUIDv7, so names sort by age. Segments are named by the byte
    offset they begin at (20 digits, ``.ndjson``). The writer's lock (``flock``) lasts as long as this object or its
    process. Safe to share between threads.
    """

    def __new__(
        cls,
        root: str | PathLike[str],
        *,
        segment_bytes: int = 67_108_864,
        max_bytes: int = 10_737_418_240,
        when_full: Literal["refuse", "drop_oldest"] = "refuse",
    ) -> Self:
        """Begin a new journal under ``root``, which is made when it is missing.

        ``max_bytes`` bounds all journals under ``root`` together; what siblings use is known from here and `measure`.
        A segment is at most an eighth of it, since room is made by the segment.
        ``when_full`` says what gives way: the new line (`JournalFull`), or the oldest segments.

        Raises `pixelcore.JournalError`.
        """

    @property
    def id(self) -> str:
        """The journal's identity."""

    @property
    def path(self) -> str:
        """The journal's directory."""

    @property
    def end(self) -> int:
        """The offset behind the last line, in bytes."""

    def append(self, line: bytes) -> int:
        """Write ``line`` and a newline with one ``write(2)``, and return the offset behind it.

        When this returns, no end of any process can lose the line; `sync` guards it against a power cut. Holds the
        GIL: the write goes to the page cache, which is faster than letting go of it.

        Raises `pixelcore.JournalFull`, or `pixelcore.JournalError` for other I/O errors, for a closed journal and for a
        ``line`` with a newline in it. A failed append leaves no trace: what was written of it is cut off again.
        """

    def sync(self) -> int:
        """Flush to the device with ``fdatasync(2)`` and return the offset up to which lines survive a power cut.

        Releases the GIL. Raises `pixelcore.JournalError`: then the lines since the last call may not survive one,
        whatever later calls say of lines behind them, and the next line begins a segment.
        """

    def measure(self) -> int:
        """The bytes of all journals under ``root`` now, which the budget is held against. Releases the GIL."""

    def repair(self) -> str | None:
        """Put back the segment that is written to, and the lock, where somebody removed them; say what was repaired.

        A segment that was cut off stays as it is, and the next line begins a new one. Releases the GIL, but no line is
        written meanwhile. Raises `pixelcore.JournalError` where it cannot; then it is worth another try.
        """

    def close(self) -> None:
        """Flush and let go of the lock; further appends raise. Releases the GIL."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@final
class JournalReader:
    """Reads a journal's lines from an offset, while its writer lives or after.

    Only whole lines that are JSON objects are events. Everything else is passed over, counted, and never read twice.
    """

    def __new__(cls, path: str | PathLike[str], offset: int = 0) -> Self:
        """Read the journal in the directory ``path``. Raises `pixelcore.JournalError`."""

    @property
    def live(self) -> bool:
        """Whether the journal's writer lives, that is holds its lock."""

    @property
    def offset(self) -> int:
        """The offset of the next line to read, in bytes."""

    @property
    def torn(self) -> int:
        """Bytes behind the last newline of finished segments: a line whose writer was cut off."""

    @property
    def corrupt(self) -> int:
        """Lines that are no JSON object."""

    @property
    def missing(self) -> int:
        """Bytes of segments that are not there any more."""

    def messages(self, max_events: int = 1000, max_bytes: int = 1_048_576) -> list[tuple[bytes, bytes | None]]:
        """The next events, at least one if there is one, each with its message key; at most ``max_bytes`` unless the first is longer.

        An event is the line without its newline, its key is ``userId``, else ``anonymousId``, else None.
        Releases the GIL while reading. Raises `pixelcore.JournalError`.
        """

    def lines(self, max_events: int = 1000, max_bytes: int = 1_048_576) -> list[bytes]:
        """The same events without their keys."""

    def records(self, max_events: int = 1000, max_bytes: int = 1_048_576) -> list[tuple[int, bytes]]:
        """The same events, each after the offset that it begins at."""

    def seek(self, offset: int) -> None:
        """Read on from ``offset``, which must be one that `offset` gave."""

    def wait(self, timeout_ms: int) -> bool:
        """Wait until there is something to read; False when ``timeout_ms`` passed first. Releases the GIL."""

    def finished(self) -> bool:
        """Whether the writer is gone and nothing is left to read. Then a torn last line is counted."""

    def delete_before(self, offset: int, older_than_ms: int = 0) -> int:
        """Delete the segments that end at or before ``offset`` and were last written ``older_than_ms`` ago or earlier.

        Never deletes the last segment. Returns how many segments went.
        """

    def delete_journal(self) -> None:
        """Delete the journal with all its files. Only for one that is `finished`."""

@final
class Collector:
    """The hot path: from the parts of a request to a line in a journal, in one call."""

    def __new__(
        cls,
        events: Journal,
        rejections: Journal,
        counters: Counters | None = None,
        *,
        typed_values: bool = False,
        max_query_bytes: int = 8192,
        max_parameters: int = 256,
        max_depth: int = 32,
        trusted_proxies: str = "",
        ip: Literal["full", "truncated", "none"] = "full",
        respect_gpc: bool = False,
        reject_automated: bool = False,
        compat: Sequence[Literal["segment", "rudderstack"]] = ...,
        group_commit: bool = False,
    ) -> Self:
        """Collect into two journals; every well-formed key is accepted until `set_keys`.

        ``trusted_proxies`` is read as `check_proxies` does, ``ip`` says how much of an address is kept (all, IPv4's first
        24 and IPv6's first 48 bits, nothing), ``respect_gpc`` leaves out of an event with ``Sec-GPC: 1`` who it was, and
        ``reject_automated`` rejects the requests of clients whose ``automated`` would be true. ``compat`` is that of `event`.
        With ``group_commit`` a request waits until a `Committer` writes, flushes and counts it.

        Raises ``ValueError`` for ``trusted_proxies``, ``ip`` and ``compat``.
        """

    def collect(
        self,
        type: str,
        query: str,
        peer: str,
        headers: tuple[str | None, ...],
        x_forwarded_for: list[str] | None = None,
        forwarded: list[str] | None = None,
        waiting: object = None,
    ) -> str | None:
        """Journal one request: its event, or the record of its rejection (contract, section 5).

        ``peer`` is ``address:port`` as a socket has it; ``headers`` are the values of `HEADERS`, of which the last may be left out.
        ``x_forwarded_for`` and ``forwarded`` are the values of those headers' lines, which matter where proxies are trusted.

        Returns None for an event, else the rejection's reason. Raises `pixelcore.JournalError` when the line could not
        be written; the request is then lost, and counted so.

        With ``group_commit`` nothing is written yet, and `Committer.take` hands ``waiting`` back when it is.
        """

    def commit(self) -> None:
        """Flush both journals to the device, as `Journal.sync` does. Releases the GIL. Raises `pixelcore.JournalError`."""

    def replay(self, record: bytes) -> bytes:
        """The event that a rejected request becomes now, as it was received then; nothing is journaled or counted.

        ``record`` is a line of a rejections' journal. Keys are judged but for their rate limits, and a request without
        a Referer that was refused for its domain is refused as long as the key has domains, since no Origin is kept.

        Raises `pixelcore.Rejected` where there still is a ``reason``, and ``ValueError`` for a line that is no record.
        """

    def set_keys(self, toml: str, share: float) -> int:
        """Accept the keys of a key file and no others, from now on. Returns how many they are.

        ``share`` is this worker's part of the rate limits (0 to 1) for keys that are new; what stays keeps its own, and
        what was used of it. Raises ``ValueError`` with the line and what is wrong with it, and then changes nothing.
        Does not hold the GIL: 100,000 keys take half a second.
        """

    def demand(self) -> dict[str, int]:
        """How many requests each key had since the last call, those refused by rate included; only keys that had any."""

    def divide(self, key: str, mine: int, others: list[int], seconds: float) -> None:
        """Set this worker's part of a key's rate limit, fairly by what all workers were asked for in ``seconds``."""

    def set_shares(self, share: float) -> None:
        """Set this worker's part (0 to 1) of the limits of all keys, whoever uses them."""

@final
class Committer:
    """Group commit: a thread, without the GIL, that writes and flushes what a collector's requests wait for."""

    def __new__(cls, collector: Collector) -> Self:
        """Start the thread. Raises ``OSError`` when there is none to be had."""

    def fileno(self) -> int:
        """The descriptor that can be read when there is something to `take`, for an event loop to watch."""

    def ask(self) -> None:
        """Ask for a flush that begins after this call. Returns at once."""

    def take(self) -> list[tuple[list[tuple[Any, str | None]], float, JournalError | None]]:
        """The flushes that have ended since the last call: who waited, seconds, and what went wrong.

        Those who waited are in the order in which they came, each with what `Collector.collect` returned.

        After a flush that failed, what was written before is never said to be on the device, and new lines begin a
        segment. Each request of it is counted as lost.
        """

    def stop(self) -> None:
        """Flush what is left, and end the thread. Releases the GIL."""

@final
class Counters:
    """Named u64 counters: those of requests, which a `Collector` counts, and ``names``."""

    def __new__(cls, names: list[str] = ..., path: str | PathLike[str] | None = None) -> Self:
        """Count in a new file, which is locked (``flock``) while this process lives and keeps what was counted; or in
        memory without ``path``. Neither is let go of before the process ends. Raises ``OSError``.
        """

    def add(self, name: str, by: int = 1) -> None:
        """Add to the counter of a name. Raises ``KeyError`` for an unknown one."""

    def set(self, name: str, value: int) -> None:
        """Set the counter of a name, which makes it a gauge. Raises ``KeyError`` for an unknown one."""

    def outcomes(self) -> dict[str, int]:
        """Requests so far, by outcome: ``accepted``, ``lost``, and each reason of rejection that occurred."""

    def slots(self) -> dict[str, int]:
        """All counters by name: ``requests <type> <outcome>``, ``repairs ts``, ``appended_bytes <journal>``, ``names``."""
