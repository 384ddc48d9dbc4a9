"""Builds in the checkout's ``target``, one at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.paths import ROOT


@contextmanager
def building() -> Iterator[None]:
    """Run alone among the test run's processes, because one maturin deletes the library that another one is packing."""
    with (ROOT / "target" / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
