"""The accounting of the chaos harness, because a checker that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.chaos.accounting import Phase, Report, Traffic, mid, report

PHASES = [Phase(0, "none"), Phase(1, "kill", times=3), Phase(2, "cut"), Phase(3, "kill", caught_up=2.5)]
# Phase 1: two answered, one refused, one without an answer; phase 2: one answered.
A, B, REFUSED, OPEN, C = mid(1, 0, 1), mid(1, 0, 2), mid(1, 1, 1), mid(1, 1, 2), mid(2, 0, 3)
TRAFFIC = [Traffic({A, B, C}, {A, B, C}, set()), Traffic({REFUSED, OPEN}, set(), {REFUSED})]
USER = b"user"


def judge(mids: Iterable[str], phases: list[Phase] = PHASES) -> Report:
    return report(phases, TRAFFIC, [(mid.encode(), mid) for mid in mids])


@pytest.mark.parametrize(
    ("name", "topic", "missing", "repeated", "unknown", "ok"),
    [
        ("all that was answered, once", [A, B, C], (0, 0), (0, 0), 0, True),
        ("a request without an answer may have arrived", [A, B, OPEN, C], (0, 0), (0, 0), 0, True),
        ("but not twice", [A, B, OPEN, OPEN, C], (0, 0), (1, 0), 0, False),
        ("one that was refused, too", [A, B, REFUSED, C], (0, 0), (0, 0), 0, True),
        ("one is lost", [A, C], (1, 0), (0, 0), 0, False),
        ("of the other fault", [A, B], (0, 1), (0, 0), 0, False),
        ("all are lost", [], (2, 1), (0, 0), 0, False),
        ("one came twice", [A, B, A, C], (0, 0), (1, 0), 0, False),
        ("one three times is one", [A, B, C, C, C], (0, 0), (0, 1), 0, False),
        ("one was never sent", [A, B, C, mid(1, 0, 99)], (0, 0), (0, 0), 1, False),
        ("one is not even ours", [A, B, C, "stranger"], (0, 0), (0, 0), 1, False),
    ],
)
def test_report(
    name: str,
    topic: list[str],
    missing: tuple[int, int],
    repeated: tuple[int, int],
    unknown: int,
    ok: bool,
) -> None:
    outcome = judge(topic)
    assert [row.fault for row in outcome.rows] == ["none", "kill", "cut"]
    _, kill, cut = outcome.rows
    assert (kill.missing, cut.missing) == missing, name
    assert (kill.repeated, cut.repeated) == repeated, name
    assert outcome.unknown == unknown, name
    assert outcome.ok is ok, name


def test_counts() -> None:
    kill = judge([A, B, OPEN, C]).rows[1]
    assert (kill.times, kill.sent, kill.answered, kill.refused, kill.in_topic) == (4, 4, 2, 1, 3)
    assert kill.caught_up == 2.5


def test_where_repeats_are_allowed_losses_are_not() -> None:
    phases = [Phase(0, "none"), Phase(1, "kill", repeats_allowed=True), Phase(2, "cut")]
    assert judge([A, A, B, C], phases).ok
    assert not judge([A, A, C], phases).ok
    assert not judge([A, B, C, C], phases).ok


@pytest.mark.parametrize(
    ("name", "topic", "disordered"),
    [
        ("in order", [(USER, A), (USER, B), (USER, C)], 0),
        ("one is late", [(USER, B), (USER, A), (USER, C)], 1),
        ("users have nothing to do with each other", [(b"1", B), (b"2", A), (b"1", C)], 0),
        ("a repeat is no disorder", [(USER, A), (USER, B), (USER, A), (USER, C)], 0),
    ],
)
def test_order(name: str, topic: list[tuple[bytes, str]], disordered: int) -> None:
    assert report(PHASES, TRAFFIC, topic).disordered == disordered, name
