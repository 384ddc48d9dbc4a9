"""The decisions of shipping as tables: the events, and the decisions after them."""

from __future__ import annotations

import pytest
from pixelcore.shipping.policies import BEHIND_SECONDS, CATCH_UP_SECONDS, Backoff, BatchSize, Level, Ownership, Priority

# What became of the batches, and how many events the next one has.
SIZES: list[tuple[str, str, int]] = [
    ("none yet", "", 100),
    ("no more than the most", "++", 100),
    ("half as many after a failure", "-", 50),
    ("and again", "--", 25),
    ("at least one", "-" * 20, 1),
    ("twice as many after a success", "--+", 50),
    ("up to the most again", "--+++", 100),
    ("one at a time as long as they fail", "-" * 20 + "+-", 1),
]


@pytest.mark.parametrize(("batches", "expected"), [pytest.param(*row[1:], id=row[0]) for row in SIZES])
def test_batch_size(batches: str, expected: int) -> None:
    size = BatchSize(100)
    for batch in batches:
        size.succeeded() if batch == "+" else size.failed()
    assert size.events == expected


# What became of the batches, and the seconds that each failure is waited for.
WAITS: list[tuple[str, str, list[float]]] = [
    ("a failure", "-", [1]),
    ("twice as long each time, up to a bound", "-----", [1, 2, 4, 5, 5]),
    ("anew after a success", "--+-", [1, 2, 1]),
    ("success alone", "+++-", [1]),
]


@pytest.mark.parametrize(("batches", "expected"), [pytest.param(*row[1:], id=row[0]) for row in WAITS])
def test_backoff(batches: str, expected: list[float]) -> None:
    backoff, waits = Backoff(first=1, most=5), []
    for batch in batches:
        if batch == "-":
            waits.append(backoff.failed())
        else:
            backoff.succeeded()
    assert waits == expected


# What happened to a journal's producer, and whether the journal may be another process's.
FATES: list[tuple[str, list[str], bool]] = [
    ("nothing", [], False),
    ("opened", ["opened"], False),
    ("fenced before it was open", ["fenced"], False),
    ("opened and fenced", ["opened", "fenced"], True),
    ("opened again and committed", ["opened", "fenced", "opened", "committed"], False),
    ("opened again, and nothing committed yet", ["opened", "fenced", "opened"], True),
    ("fenced twice", ["opened", "fenced", "opened", "committed", "fenced"], True),
]


@pytest.mark.parametrize(("events", "expected"), [pytest.param(*row[1:], id=row[0]) for row in FATES])
def test_ownership(events: list[str], expected: bool) -> None:
    ownership = Ownership()
    for event in events:
        getattr(ownership, event)()
    assert ownership.may_be_lost is expected


LONG, CATCH_UP = BEHIND_SECONDS + 1, CATCH_UP_SECONDS + 1
# Looks at the priority: the time, since when batches were full, and the level from then on.
Look = tuple[float, "float | None", Level]
LEVELS: list[tuple[str, bool, list[Look]]] = [
    ("low at first", True, [(0, None, Level.LOW)]),
    ("full, but not for long", True, [(1, 0, Level.LOW)]),
    ("full for long", True, [(1, 0, Level.LOW), (LONG, 0, Level.NORMAL)]),
    ("normal for a while, full or not", True, [(LONG, 0, Level.NORMAL), (LONG + 1, None, Level.NORMAL)]),
    (
        "for as long as it takes, to the second",
        True,
        [(BEHIND_SECONDS, 0, Level.LOW), (LONG, 0, Level.NORMAL), (LONG + CATCH_UP_SECONDS, None, Level.NORMAL)],
    ),
    ("low when it has caught up", True, [(LONG, 0, Level.NORMAL), (LONG + CATCH_UP, None, Level.LOW)]),
    ("normal as long as batches are full", True, [(LONG, 0, Level.NORMAL), (LONG + CATCH_UP, 0, Level.NORMAL)]),
    ("never low where it may not be", False, [(0, None, Level.NORMAL), (LONG + CATCH_UP, None, Level.NORMAL)]),
]


@pytest.mark.parametrize(("lowers", "looks"), [pytest.param(*row[1:], id=row[0]) for row in LEVELS])
def test_priority(lowers: bool, looks: list[Look]) -> None:
    now = 0.0
    priority = Priority(lowers, lambda: now)
    for time, full_since, expected in looks:
        now, before = time, priority.level
        assert priority.changes(full_since) == (expected is not before)
        assert priority.level is expected
