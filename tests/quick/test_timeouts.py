"""Calls that may never return."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest
from pixelcore.timeouts import CallTimeoutError, call_while_it_progresses, call_with_timeout

LONG = 60.0
"""Seconds after which a call ends by itself, so that a test fails rather than hangs."""


def test_what_a_call_returns_or_raises_is_passed_on() -> None:
    assert call_with_timeout(LONG, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        call_with_timeout(LONG, lambda: 1 // 0)


def test_a_call_that_does_not_return_is_abandoned() -> None:
    over = threading.Event()
    with pytest.raises(CallTimeoutError):
        call_with_timeout(0.01, lambda: over.wait(LONG))
    over.set()


PROGRESS: list[tuple[str, list[int], bool]] = [
    # name, the numbers that are seen one after the other, and whether the call is awaited until it has seen the last one
    ("always more", [0, 1, 2, 3], True),
    ("back and forth", [1, 0, 1, 0], True),
    ("none at first", [0, 0, 1, 2], False),
    ("none later", [0, 1, 1, 2], False),
]


@pytest.mark.parametrize(("numbers", "is_awaited"), [pytest.param(*row[1:], id=row[0]) for row in PROGRESS])
def test_a_call_may_take_as_long_as_it_progresses(numbers: list[int], is_awaited: bool) -> None:
    over = threading.Event()

    def progress() -> Iterator[int]:
        yield from numbers[:-1]
        over.set()
        yield numbers[-1]
        yield from itertools.count(100)  # until the call has noticed

    seen = progress()
    if is_awaited:
        assert call_while_it_progresses(0.01, lambda: over.wait(LONG), lambda: next(seen))
    else:
        with pytest.raises(CallTimeoutError):
            call_while_it_progresses(0.01, lambda: over.wait(LONG), lambda: next(seen))
        assert not over.is_set()
    over.set()
