"""The scheduling slice of the thread that answers.

Each answer wakes Granian's own thread, which reads and writes the connections. With the kernel's default slice, it preempts the
answering thread at once, for one answer. This costs two thread switches per request. With the shortest slice, the answering
thread has the earlier deadline and continues, and Granian's thread writes several answers in one turn.
"""

from __future__ import annotations

import logging

from .._core import set_slice

log = logging.getLogger("pixelcore")

SLICE_NS = 100_000
"""Nanoseconds: the shortest slice of Linux (kernel/sched/syscalls.c)."""


def take_short_turns() -> None:
    """Give the calling thread the shortest slice, if the kernel allows it."""
    try:
        set_slice(SLICE_NS)
    except OSError as error:
        log.warning(
            "answers take more CPU, because this process may not set its scheduling slice: %s;"
            " under systemd, SystemCallFilter= must allow sched_setattr",
            error.strerror,
        )
