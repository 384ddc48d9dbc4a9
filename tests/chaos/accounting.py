"""Compares the sent and answered requests with the topic: the verdict of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Phase:
    """The time in which one fault was injected, once or several times. Each messageId names the phase of its sending."""

    number: int
    fault: str
    times: int = 1
    repeats_allowed: bool = False
    caught_up: float = 0.0
    """Seconds from the end of the fault until all answered events were in the topic."""


@dataclass
class Traffic:
    """The knowledge of a load generator, as sets of messageIds."""

    sent: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    """Answered with the GIF, and accepted."""
    refused: set[str] = field(default_factory=set)
    """Answered with the GIF but not journaled, according to the header of `PIXELCORE_DEBUG_HEADER`."""


def mid(phase: int, gateway: int, number: int) -> str:
    """A messageId with the time and place of its sending. The numbers of a gateway only grow."""
    return f"{phase}-{gateway}-{number}"


def phase_of(mid: str) -> int:
    """The phase that a messageId was sent in."""
    return int(mid.partition("-")[0])


@dataclass
class Row:
    """One line of the table: all phases of one fault."""

    fault: str
    repeats_allowed: bool
    times: int = 0
    sent: int = 0
    answered: int = 0
    refused: int = 0
    in_topic: int = 0
    missing: int = 0
    repeated: int = 0
    caught_up: float = 0.0
    """The longest, in seconds."""

    @property
    def ok(self) -> bool:
        """Whether the promise was kept."""
        return self.missing == 0 and (self.repeated == 0 or self.repeats_allowed)


@dataclass
class Report:
    """The outcome of a run."""

    rows: list[Row]
    unknown: int
    """The number of messageIds in the topic that were never sent."""
    disordered: int
    """The number of events after a later one of the same connection, which has one user and one journal."""

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, repeated, made up, or out of order."""
        return all(row.ok for row in self.rows) and not self.unknown and not self.disordered


def report(phases: Iterable[Phase], traffic: Sequence[Traffic], topic: Iterable[tuple[bytes | None, str]]) -> Report:
    """Compare what gateways answered with what a read_committed consumer found: (key, messageId) in their order."""
    messages = list(topic)
    found = Counter(mid for _, mid in messages)
    rows: dict[str, Row] = {}
    row_of: dict[int, Row] = {}
    for phase in phases:
        row = rows.setdefault(phase.fault, Row(phase.fault, phase.repeats_allowed))
        row.times += phase.times
        row.caught_up = max(row.caught_up, phase.caught_up)
        row_of[phase.number] = row
    sent = set[str]().union(*(part.sent for part in traffic))
    for part in traffic:
        for mid in part.sent:
            row_of[phase_of(mid)].sent += 1
        for mid in part.refused:
            row_of[phase_of(mid)].refused += 1
        for mid in part.answered:
            row = row_of[phase_of(mid)]
            row.answered += 1
            row.missing += mid not in found
    unknown = 0
    for mid, count in found.items():
        if mid in sent:
            row = row_of[phase_of(mid)]
            row.in_topic += 1
            row.repeated += count > 1
        else:
            unknown += 1
    return Report(list(rows.values()), unknown, _disordered(messages))


def _disordered(messages: Iterable[tuple[bytes | None, str]]) -> int:
    """Repeats are counted elsewhere, so only the first appearance of an event must be in order."""
    last: dict[bytes | None, int] = defaultdict(lambda: -1)
    seen: set[str] = set()
    disordered = 0
    for key, mid in messages:
        if mid in seen:
            continue
        seen.add(mid)
        number = int(tail) if (tail := mid.rpartition("-")[2]).isdecimal() else -1
        disordered += number < last[key]
        last[key] = max(last[key], number)
    return disordered
