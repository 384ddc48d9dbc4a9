"""The Rust extension. Import its names from ``pixelcore``; this file is their reference.

All functions are pure, apart from the clock and the random numbers of a UUIDv7. They hold the GIL for the few microseconds that
they take. For the bytes of a query, they raise only `pixelcore.Rejected`. "Section" refers to ``docs/contract.md``.
"""

from collections.abc import Sequence
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import Any, Literal, final

from typing_extensions import Self

from .errors import JournalError

__all__ = [
    "HEADERS",
    "REASONS",
    "Buckets",
    "Ceilings",
    "CeilingsWriter",
    "Collector",
    "Committer",
    "Counters",
    "Journal",
    "JournalReader",
    "__version__",
    "check_keys",
    "check_proxies",
    "consent_key_ids",
    "consent_keys",
    "doubt",
    "event",
    "ignored_names",
    "key_terms",
    "key_topics",
    "know_crawlers",
    "nest",
    "pairs",
    "release_memory",
    "seal",
    "set_slice",
    "sign",
    "take_ignored_names",
]

__version__: str

def check_keys(toml: str) -> int:
    """The number of keys in a key file. Raises ``ValueError`` with the line and its error."""

def release_memory() -> None:
    """Return freed memory to the system. Without it, glibc keeps that of a large file that was parsed."""

def key_terms(
    toml: str,
) -> dict[str, tuple[str, str | None, Literal["uid", "aid"] | None, str, str, list[str], int, bool]]:
    """The terms of each pipeline, by its id, as the fields of `pixelcore.terms.Terms`. Raises ``ValueError`` like `check_keys`."""

def key_topics(toml: str) -> dict[str, str]:
    """The topics of pipelines with their own topic, by the pipeline's id. Raises ``ValueError`` like `check_keys`."""

def check_proxies(list: str) -> None:
    """Check a list of networks and addresses, separated by commas. ``loopback``, ``private`` and ``unix`` are names.

    Raises ``ValueError`` that names the first wrong entry.
    """

def consent_key_ids(secrets: str) -> list[str]:
    """The ids of secrets, ``ID:SECRET`` with commas between them. Raises ``ValueError`` that shows no secret."""

def consent_keys(secrets: str, scope: str, kind: Literal["uid", "aid"], ids: Sequence[bytes]) -> list[bytes]:
    """The keys of persons' records in a scope, ``key id.MAC``, made with the first of the secrets (section 9).

    An id is trimmed like an event's. An empty id also has a key. Releases the GIL. Raises ``ValueError`` like `consent_key_ids`.
    """

@final
class Ceilings:
    """The consent list of a directory, for look-ups. It is a mapped file, and needs no memory of its own."""

    def __new__(cls, directory: str | PathLike[str], secrets: str, max_age: timedelta | None = None) -> Self:
        """Open the list, which need not exist yet. It is stale after ``max_age`` without contact to its topic. Raises ``ValueError``."""

    def refresh(self) -> None:
        """Open a file that has replaced the list. Call it once a second. New records in the same file do not need it."""

    def ceiling(self, scope: str, kind: Literal["uid", "aid"], id: bytes) -> tuple[str, str | None, int | None]:
        """The ceiling of a person: its state, mode, and time in Unix milliseconds.

        The state is ``of`` or ``stale`` with a mode and a time, or ``unknown`` or ``unreadable`` with None for both.
        """

    def withholds(self, scope: str, kind: Literal["uid", "aid"], line: bytes) -> bool:
        """Whether an event must not be shipped, because it arrived after its person's withdrawal. Releases the GIL."""

    @property
    def heard(self) -> int:
        """When the list was last known to be complete, in Unix milliseconds; 0 if it never was."""

    @property
    def count(self) -> int:
        """The number of records: one per person and scope, and one per scope and key id."""

    @property
    def key_ids(self) -> list[tuple[str, bool]]:
        """The key ids of the records, and whether ``secrets`` has each of them."""

@final
class CeilingsWriter:
    """Changes the consent list of a directory. Each method takes the list's lock, releases the GIL, and may raise ``OSError``."""

    def __new__(cls, directory: str | PathLike[str]) -> Self:
        """Open the list, or make an empty one in an existing directory."""

    def apply(
        self, records: Sequence[tuple[bytes | None, bytes | None, int | None]]
    ) -> tuple[int, str | None, list[tuple[str, str]]]:
        """Apply records: the key, the value, and Kafka's time of each in Unix milliseconds. They are in force at once.

        Returns the number of malformed records, the error of the last one, and the pairs of key id and scope that are new.
        """

    def sync(self, offsets: Sequence[tuple[int, int]]) -> None:
        """Flush to the device, and then note the offsets of the partitions at which reading continues."""

    def offsets(self, topic: int) -> list[int]:
        """The offsets of a topic's partitions at which reading continues; empty if the list is of another topic.

        ``topic`` is the topic's identity, a number of 128 bits.
        """

    def begin(self, topic: int) -> None:
        """Note that a topic is read from its beginning. The persons' records stay."""

    def heard(self, millis: int) -> None:
        """Note that the list had all records of the topic at a time, in Unix milliseconds."""

    @property
    def damaged(self) -> bool:
        """Whether the list's file was damaged, and has been replaced by an empty list."""

HEADERS: tuple[str, ...]
"""The request headers for `Collector.collect`, in its order."""

REASONS: tuple[str, ...]
"""All reasons of rejection, in order of precedence (section 5)."""

def pairs(query: str | bytes) -> list[tuple[str, str]]:
    """The names and values of a query, in order.

    This is exactly the ``application/x-www-form-urlencoded`` parser of the WHATWG URL standard, section 5.1. It keeps ``amp;``,
    trims nothing, and accepts every input. It reads a lone surrogate in a ``str`` as U+FFFD.
    """

def ignored_names(
    type: str, query: str | bytes, compat: Sequence[Literal["segment", "rudderstack"]] = ...
) -> list[str]:
    """The unknown names of a query, in order, each once (section 2). Raises ``ValueError`` for an unknown name in ``compat``."""

def doubt(id: str) -> Literal["nothing", "nil_uuid", "merge_tag", "macro"] | None:
    """Why an id of an event identifies nobody (section 4), or None if it seems to be somebody's."""

def take_ignored_names() -> list[str]:
    """Unknown names in this process's requests since the last call: at most 32, each of at most 64 bytes."""

def know_crawlers(list: bytes, patterns: Sequence[str]) -> None:
    """Give `event` and `Collector` the lists of crawlers: the JSON of crawler-user-agents, and Crawler-Detect's patterns.

    Importing ``pixelcore`` does this once. Later lists change nothing. Raises ``ValueError`` if ``list`` is not such a list.
    """

def set_slice(nanoseconds: int) -> None:
    """Set the scheduling slice of the calling thread: its time on the core while another thread waits (sched_setattr(2)).

    Linux applies it from 6.12 on, with a minimum of 0.1 ms. Raises ``OSError`` if the kernel refuses it.
    """

def nest(query: str | bytes, prefix: str = "p.", *, typed_values: bool = False) -> bytes:
    """The JSON object of the parameters whose names begin with ``prefix`` (section 3); ``{}`` if there are none.

    ``prefix`` is compared after decoding, and after one leading ``amp;`` of the name is removed. ``typed_values`` writes ``true``,
    ``false`` and numbers as JSON values if that loses no character of the text. No limits apply.
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
    secrets: Sequence[str] = ...,
    require_signature: bool = False,
) -> bytes:
    """The event of a pixel request, as one JSON object (sections 2 to 4).

    ``type`` is ``track``, ``page``, ``identify`` or ``group``. ``user_agent``, ``referer``, ``locale`` (Accept-Language),
    ``gpc`` (Sec-GPC), ``dnt`` (DNT) and ``purpose`` (Sec-Purpose) are the values of the request's headers. ``ip`` goes into the
    event unchanged. ``received_at`` is Unix milliseconds, 0 to 253402207200000 (one day before the year 10000); the default is now.
    ``max_query_bytes`` is in bytes, and ``max_depth`` counts the segments of a dotted name. ``compat`` names the vendors whose
    queries are also accepted (``docs/migration.md``); the default is none of them. ``secrets`` are the pipeline's, and any of them
    may have signed or sealed the query. With ``require_signature``, one of them must have (section 8).

    Raises `pixelcore.Rejected` with its ``reason``. Raises ``ValueError`` for a ``received_at`` out of range, for an unknown name in
    ``compat``, and for a secret that could be guessed.
    """

def sign(type: str, query: str | bytes, secret: str) -> str:
    """The signature ``s`` of a query: 22 characters (section 8). Raises ``ValueError`` for a secret that could be guessed."""

def seal(type: str, key: str, query: str | bytes, secret: str, nonce: bytes) -> str:
    """The sealed ``x`` of a query without ``wk``, ``cb`` and ``utm_*`` (section 8).

    ``nonce`` is 12 random bytes. Two queries with the same nonce reveal each other's contents. Raises ``ValueError`` for a secret
    that could be guessed, and for a nonce of another length.
    """

@final
class Journal:
    """The append-only journal of one worker's life: a directory of NDJSON segments under ``root``.

    The directory's name is the journal's identity, a UUIDv7, so names sort by age. A segment is named by the byte offset at which
    it begins (20 digits, ``.ndjson``). The writer's lock (``flock``) lasts as long as this object or its process. The object is safe
    to share between threads.
    """

    def __new__(
        cls,
        root: str | PathLike[str],
        *,
        segment_bytes: int = 67_108_864,
        max_bytes: int = 10_737_418_240,
        when_full: Literal["refuse", "drop_oldest"] = "refuse",
    ) -> Self:
        """Begin a new journal under ``root``, which is made if it is missing. The first line makes the journal's own directory.

        ``max_bytes`` is the byte budget of all journals under ``root`` together. The bytes of the others are counted here and by
        `measure`. A segment has at most an eighth of the budget, because room is made by whole segments. If the budget is used up,
        ``when_full`` refuses the new line (`JournalFull`) or drops the oldest segments.

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
        """The offset after the last line, in bytes."""

    @property
    def dropped(self) -> int:
        """The number of lines that this journal has dropped to make room (``when_full="drop_oldest"``), without those in a topic."""

    def append(self, line: bytes) -> int:
        """Write ``line`` and a newline with one ``write(2)``, and return the offset after it.

        When this returns, the line survives the end of any process. `sync` protects it against a power cut. Holds the GIL, because
        the write goes to the page cache, which is faster than releasing the GIL.

        Raises `pixelcore.JournalFull`, or `pixelcore.JournalError` for other I/O errors, for a closed journal, and for a ``line``
        that contains a newline. A failed append leaves no trace, because a partial line is cut off again.
        """

    def sync(self) -> int:
        """Flush to the device with ``fdatasync(2)``, and return the offset up to which lines survive a power cut.

        Releases the GIL. Raises `pixelcore.JournalError`. Then the lines since the last call may not survive a power cut, even if
        later calls succeed, and the next line begins a segment.
        """

    def measure(self) -> int:
        """The current bytes of all journals under ``root``, which count against the budget. Releases the GIL."""

    def repair(self) -> str | None:
        """Restore the current segment and the lock if somebody removed them. Returns a text about the repair; None if there was none.

        A truncated segment stays as it is, and the next line begins a new one. Releases the GIL, but no line is written meanwhile.
        Raises `pixelcore.JournalError` if the repair fails; it may be tried again.
        """

    def renew(self) -> None:
        """Flush, release the journal as if its writer had ended, and begin a new one with another ``id``.

        Releases the GIL. Raises `pixelcore.JournalError` if the flush fails. The new journal begins nevertheless, unless this one is
        closed.
        """

    def close(self) -> None:
        """Flush, and release the lock. Further appends raise `pixelcore.JournalError`. Releases the GIL."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@final
class JournalReader:
    """Reads a journal's lines from an offset, during the writer's life or afterwards.

    Only whole lines that are JSON objects are events. Everything else is skipped, counted, and never read twice.
    """

    def __new__(cls, path: str | PathLike[str], offset: int = 0) -> Self:
        """Read the journal in the directory ``path``. Raises `pixelcore.JournalError`."""

    @property
    def live(self) -> bool:
        """Whether the journal's writer lives, that is, holds its lock."""

    @property
    def offset(self) -> int:
        """The offset of the next line to read, in bytes."""

    @property
    def torn(self) -> int:
        """Bytes after the last newline of finished segments: a torn line, whose write was interrupted."""

    @property
    def corrupt(self) -> int:
        """The number of lines that are not JSON objects."""

    @property
    def missing(self) -> int:
        """Bytes of segments that no longer exist."""

    def messages(
        self, max_events: int = 1000, max_bytes: int = 1_048_576
    ) -> list[tuple[bytes, bytes | None, int, str | None]]:
        """The next events, each as (line, key, timestamp, pipeline).

        Together they have at most ``max_bytes``, unless the first is longer. The line has no newline. The key is ``userId``, else
        ``anonymousId``, else None. The timestamp is ``receivedAt`` in Unix milliseconds, at most the present time. The pipeline is
        ``pipelineId``, else None. Releases the GIL while reading. Raises `pixelcore.JournalError`.
        """

    def lines(self, max_events: int = 1000, max_bytes: int = 1_048_576) -> list[bytes]:
        """The lines of the next events, like `messages`."""

    def records(self, max_events: int = 1000, max_bytes: int = 1_048_576) -> list[tuple[int, bytes]]:
        """The next events as (offset of its beginning, line), like `messages`."""

    def seek(self, offset: int) -> None:
        """Continue at ``offset``, which must be an earlier value of `offset`."""

    def wait(self, timeout_ms: int) -> bool:
        """Wait until there is something to read; False if ``timeout_ms`` milliseconds pass first. Releases the GIL."""

    def finished(self) -> bool:
        """Whether the writer has ended and nothing is left to read. Then a torn last line is counted."""

    def delete_before(self, offset: int, older_than_ms: int = 0) -> int:
        """Delete the segments that end at or before ``offset`` and were last written at least ``older_than_ms`` milliseconds ago.

        Never deletes the last segment. Returns the number of deleted segments.
        """

    def delete_journal(self) -> None:
        """Delete the journal with all its files. Only for a journal that is `finished`."""

@final
class Collector:
    """The hot path: turns the parts of a request into a line in a journal, in one call."""

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
        gpc: str = "individual",
        reject_automated: bool = False,
        compat: Sequence[Literal["segment", "rudderstack"]] = ...,
        group_commit: bool = False,
        openings: Journal | None = None,
        loads: Journal | None = None,
        window_ms: int = 3_600_000,
    ) -> Self:
        """Collect into two journals. Every well-formed key is accepted until `set_keys`.

        - ``trusted_proxies`` has the form of `check_proxies`.
        - ``ip`` is the part of an address that is kept: all; the first 24 bits of IPv4 and 48 of IPv6; or nothing.
        - ``respect_gpc`` leaves the person out of an event with ``Sec-GPC: 1``. ``gpc`` is then the most that is kept (section 9).
        - ``reject_automated`` rejects the requests of clients whose ``automated`` would be true.
        - ``typed_values``, the limits and ``compat`` are those of `event`.
        - With ``group_commit``, a request waits until a `Committer` writes, flushes and counts it.
        - ``openings`` and ``loads`` get the reduced records; without them, nothing is kept of requests that leave no event. Loads are
          counted by windows of ``window_ms`` milliseconds.

        Raises ``ValueError`` for ``trusted_proxies``, ``ip``, ``gpc`` and ``compat``.
        """

    def collect(
        self,
        type: str,
        query: str,
        peer: str,
        headers: tuple[str | bytes | bool | None, ...],
        x_forwarded_for: Sequence[str | bytes | bool] | None = None,
        forwarded: Sequence[str | bytes | bool] | None = None,
        waiting: object = None,
    ) -> str | None:
        """Journal one request: its event, or the record of its rejection (section 5).

        ``peer`` is ``address:port`` of the connection. ``headers`` are the values of `HEADERS`; the last ones may be left out. A value
        is None for a missing header, and True for one that the server does not hand over (section 2). ``x_forwarded_for`` and
        ``forwarded`` are the values of those headers' lines in the same form. They matter only if proxies are trusted.

        Returns None for an event, or for the reduced record that its mode keeps instead; otherwise the rejection's reason. Raises
        `pixelcore.JournalError` if the line could not be written. Then the request is lost, and is counted as lost.

        With ``group_commit``, nothing is written yet. `Committer.take` returns ``waiting`` after the flush.
        """

    @property
    def refused(self) -> int:
        """The number of rejections' records that were not kept, because a key or reason exceeds its share of a full journal."""

    def turn(self) -> None:
        """Release the journal of loads of a past window, so that they can be counted. Raises `pixelcore.JournalError`."""

    def commit(self) -> None:
        """Flush all journals to the device, like `Journal.sync`. Releases the GIL. Raises `pixelcore.JournalError`."""

    def replay(self, record: bytes, type: str | None = None) -> bytes:
        """The event of a rejected request if it is judged now, with its original time of receipt. Nothing is journaled or counted.

        ``record`` is a line of a journal of rejections. Keys are checked, but not their rate limits. No Origin is kept, so a request
        without a Referer that was rejected for its domain stays rejected as long as the key has domains. ``type`` is the type of a
        request whose path names none. If such a path contains a query, that query counts before the one that was sent.

        Returns an empty value if the request's mode allows no event now (section 9).

        Raises `pixelcore.Rejected` if there still is a ``reason``, and ``ValueError`` for a line that is not a record.
        """

    def set_keys(self, toml: str, buckets: Buckets | None = None) -> int | None:
        """From now on, accept only the keys of a key file. Returns their number.

        Their rate limits take tokens from ``buckets``, by default from new ones. Returns None if the buckets have no room for so many
        keys. Raises ``ValueError`` with the line and its error. In both cases nothing changes. Releases the GIL, because 100,000 keys
        take half a second.
        """

    def set_ceilings(self, ceilings: Ceilings | None) -> None:
        """From now on, look persons up in this list, for pipelines that do so. Without a list, all persons are unknown."""

@final
class Buckets:
    """The rate limits' token buckets, one per key. A bucket holds the tokens of one second, and begins full."""

    def __new__(cls, keys: int, path: str | PathLike[str] | None = None) -> Self:
        """Open the buckets in a file, or make them in memory without a ``path``. A new file has room for twice as many ``keys``.

        Processes that open the same file share its buckets. The file stays mapped until the process ends. Raises ``OSError``.
        """

@final
class Committer:
    """Group commit: a thread, without the GIL, that writes and flushes the lines of a collector's waiting requests."""

    def __new__(cls, collector: Collector) -> Self:
        """Start the thread. Raises ``OSError`` if the system refuses it."""

    def fileno(self) -> int:
        """A descriptor for an event loop. It is readable when there is something to `take`."""

    def ask(self) -> None:
        """Ask for a flush that begins after this call. Returns at once."""

    def take(self) -> list[tuple[list[tuple[Any, str | None]], float, JournalError | None]]:
        """The flushes that have ended since the last call: the waiting requests, the seconds, and the error if any.

        The requests are in the order of their arrival, each with the result of `Collector.collect`.

        After a failed flush, earlier lines are never reported as being on the device, and new lines begin a segment. Each request of
        that flush is counted as lost.
        """

    def stop(self) -> None:
        """Flush the rest, and end the thread. Releases the GIL."""

@final
class Counters:
    """Named u64 counters: those of requests, which a `Collector` counts, and additional ``names``."""

    def __new__(cls, names: list[str] = ..., path: str | PathLike[str] | None = None) -> Self:
        """Count in a new file, or in memory without a ``path``. Raises ``OSError``.

        The file is locked (``flock``) while this process lives, and keeps the counts afterwards. File and memory stay until the process
        ends.
        """

    def add(self, name: str, by: int = 1) -> None:
        """Add to the counter of a name. Raises ``KeyError`` for an unknown one."""

    def set(self, name: str, value: int) -> None:
        """Set the counter of a name, which makes it a gauge. Raises ``KeyError`` for an unknown one."""

    def outcomes(self) -> dict[str, int]:
        """Requests so far, by outcome: ``accepted``, ``lost``, and each reason of rejection that occurred."""

    def slots(self) -> dict[str, int]:
        """All counters by name.

        The names are ``requests <type> <outcome>``, ``repairs <member>``, other notices, ``appended_bytes <journal>``, and ``names``.
        """
