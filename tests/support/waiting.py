"""Waits until a condition is true, or checks that it stays true."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], seconds: float = 30, what: str = "it did not come true") -> None:
    """Return as soon as a condition is true. Fail with its description if it is not true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def stays(condition: Callable[[], bool], seconds: float, what: str = "it did not stay so") -> None:
    """Fail as soon as a condition is false within these seconds: for events that must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(0.02)
