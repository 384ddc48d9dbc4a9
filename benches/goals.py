"""The goals of the whole way, as ratios, and the standing of a result."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from benches.peers.commands import PYTHON

BARE: Final = "bare"
INLINE: Final = "inline"
JOURNAL: Final = "pixelcore, journal only"
EXACTLY_ONCE: Final = "pixelcore, exactly-once"
FORWARDER_APART: Final = "pixelcore, forwarder apart"


@dataclass(frozen=True)
class Standing:
    """One goal; ``value`` and ``met`` are None where a server that it speaks of has no figure."""

    name: str
    value: float | None
    goal: str
    met: bool | None


def at_most(limit: float, name: str, value: float | None) -> Standing:
    """A goal for what pixelcore costs."""
    return Standing(name, value, f"<= {limit}", None if value is None else value <= limit)


def at_least(limit: float, name: str, value: float | None) -> Standing:
    """A goal for what a rival costs."""
    return Standing(name, value, f">= {limit}", None if value is None else value >= limit)


def standings(cpu: Mapping[str, Sequence[float]]) -> list[dict[str, object]]:
    """The goals, from each server's microseconds of CPU a request in all rounds."""
    medians = {name: statistics.median(rounds) for name, rounds in cpu.items()}

    def ratio(over: Sequence[str], under: str) -> float | None:
        if under not in medians or not all(name in medians for name in over):
            return None
        return min(medians[name] for name in over) / medians[under]

    found = [
        at_most(0.8, "journal / bare", ratio([JOURNAL], BARE)),
        at_most(1.15, "journal / inline", ratio([JOURNAL], INLINE)),
        at_most(0.92, "exactly-once / bare", ratio([EXACTLY_ONCE], BARE)),
        at_most(1.12, "exactly-once, forwarder apart / bare", ratio([FORWARDER_APART], BARE)),
        at_most(1.35, "exactly-once / axum", ratio([EXACTLY_ONCE], "axum")),
        at_least(1.5, "go / exactly-once", ratio(["go"], EXACTLY_ONCE)),
        at_least(6.5, "fastapi / exactly-once", ratio(["fastapi"], EXACTLY_ONCE)),
        at_least(2.3, "best Python stack / exactly-once", ratio(PYTHON, EXACTLY_ONCE)),
    ]
    return [asdict(standing) for standing in found]


def lines(found: Sequence[Mapping[str, object]]) -> list[str]:
    """The goals, for people."""
    table = [f"{'ratio of medians':42}{'measured':>9}{'goal':>9}"]
    for standing in found:
        value, met = standing["value"], standing["met"]
        measured = f"{value:.2f}" if isinstance(value, float) else "-"
        verdict = "not measured" if met is None else "met" if met else "NOT MET"
        table.append(f"{standing['name']:42}{measured:>9}{standing['goal']:>9}  {verdict}")
    return table
