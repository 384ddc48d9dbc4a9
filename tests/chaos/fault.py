"""The description of a fault, and the list of all faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.chaos.arena import Arena

Short = Literal["always", "sometimes", "never"]
Injection = Callable[[Arena, int], Iterator[None]]


@dataclass(frozen=True)
class Fault:
    """A fault, and its end."""

    name: str
    """For the command line."""
    title: str
    inject: Callable[[Arena, int], AbstractContextManager[None]]
    """Injects the fault on entry and heals it on exit; takes the phase's number. Raises `ChaosError` when the fault turns
    out to have had no effect."""
    seconds: tuple[float, float]
    """The shortest and longest duration, in seconds."""
    times: int
    """The number of injections in one phase."""
    short: Short
    """Whether it is part of a short run."""
    by_guest: bool
    """Whether it affects a separate gateway that delivers at least once, where repeats are allowed."""


FAULTS: dict[str, Fault] = {}


def fault(
    name: str,
    title: str,
    *,
    seconds: tuple[float, float],
    times: int = 1,
    short: Short = "sometimes",
    by_guest: bool = False,
) -> Callable[[Injection], Injection]:
    """Enter a generator into the list: it injects the fault, yields, and heals it."""

    def enter(injection: Injection) -> Injection:
        FAULTS[name] = Fault(name, title, contextmanager(injection), seconds, times, short, by_guest)
        return injection

    return enter
